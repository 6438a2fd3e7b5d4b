"""The wallet that an organisation is paid to, and what is under way with it."""

from dataclasses import dataclass
from datetime import datetime

from earnings.figures.scope import Scope
from earnings.models import Wallet, WalletState
from nodes.models import Node


@dataclass(frozen=True)
class WalletCard:
    """`confirmed` is the wallet that holds. `proposals` wait for their owner; `agents` are addresses that agents
    registered and that are not the wallet. `waits_until` is when payouts begin, None if they may.
    """

    confirmed: Wallet | None
    proposals: list[Wallet]
    overrides: int
    agents: int
    waits_until: datetime | None

    @property
    def short(self) -> str:
        """The confirmed address in the middle of which is an ellipsis."""
        if self.confirmed is None:
            return ""
        address = self.confirmed.address
        return f"{address[:6]}…{address[-6:]}" if len(address) > 16 else address


def wallet_card(scope: Scope, *, at: datetime) -> WalletCard | None:
    """The card of the scope's organisation; None for the whole network."""
    if scope.org_id is None:
        return None
    wallets = list(
        Wallet.objects.filter(org_id=scope.org_id, state__in=[WalletState.CONFIRMED, WalletState.PROPOSED])
    )
    confirmed = {each.node_id: each for each in wallets if each.state == WalletState.CONFIRMED}
    # a node has its own wallet, or the organisation's
    shown = confirmed.get(scope.node_id) or confirmed.get(None)
    known = {each.address for each in wallets}
    said = (
        Node.objects.filter(org_id=scope.org_id).exclude(wallet_address="").exclude(wallet_address__in=known)
    )
    waits = shown is not None and shown.payouts_from is not None and shown.payouts_from > at
    return WalletCard(
        confirmed=shown,
        proposals=[each for each in wallets if each.state == WalletState.PROPOSED],
        overrides=len([node_id for node_id in confirmed if node_id is not None]),
        agents=said.values("wallet_address").distinct().count(),
        waits_until=shown.payouts_from if shown is not None and waits else None,
    )
