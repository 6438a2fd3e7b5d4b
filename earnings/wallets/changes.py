"""Changing wallets. Every change needs the password again, tells all members, and holds payouts for 72 hours.

Rows are history: a change ends the present row and adds one. Within the 72 hours any member may stop it, and
the last wallet that was paid to without doubt holds again.
"""

from datetime import datetime
from typing import Final

from django.db import transaction

from earnings.models import Wallet, WalletState
from earnings.rules.eligibility import WALLET_WAITS
from earnings.rules.wallets import BadAddress, check_address
from earnings.wallets.mail import tell_members
from jatevo.accounts.actions import prove_identity
from jatevo.accounts.models import Org, User
from jatevo.audit.record import actor_of, record
from nodes.models import Node

STOPPABLE_FOR: Final = WALLET_WAITS


class WalletError(Exception):
    """Nothing was changed. The message says why, for people."""


def propose(
    *,
    org: Org,
    node: Node | None = None,
    chain: str,
    address: str,
    by: User,
    network_address: str,
    at: datetime,
) -> Wallet:
    """Proposes a wallet, which somebody with the right to change it confirms. Raises WalletError."""
    canonical = _checked(org, node, chain, address)
    with transaction.atomic():
        _alone(org)
        owned = Wallet.objects.filter(org=org, node=node, chain=chain, address=canonical)
        if owned.filter(state__in=[WalletState.PROPOSED, WalletState.CONFIRMED]).exists():
            raise WalletError("This address is already proposed, or is the wallet.")
        wallet = Wallet.objects.create(
            org=org,
            node=node,
            chain=chain,
            address=canonical,
            state=WalletState.PROPOSED,
            set_at=at,
            set_by=actor_of(by).id,
            network_address=network_address,
        )
        _record("wallet.propose", wallet, by)
    return wallet


def confirm(
    *, wallet: Wallet, by: User, password: str, otp: str, network_address: str, at: datetime
) -> Wallet:
    """Makes a proposed wallet the one that holds.

    Raises WalletError if it no longer waits, and what `prove_identity` raises.
    """
    prove_identity(by=by, password=password, otp=otp, address=network_address, at=at)
    with transaction.atomic():
        _alone(wallet.org)
        wallet = Wallet.objects.select_related("org", "node").get(pk=wallet.pk)
        if wallet.state != WalletState.PROPOSED:
            raise WalletError("This proposal was already decided.")
        former = _end_present(wallet, by=by, at=at)
        wallet.state, wallet.confirmed_at, wallet.confirmed_by = WalletState.CONFIRMED, at, actor_of(by).id
        wallet.payouts_from = at + WALLET_WAITS
        wallet.network_address = network_address
        wallet.save(
            update_fields=["state", "confirmed_at", "confirmed_by", "payouts_from", "network_address"]
        )
        _changed(wallet, former, by)
    return wallet


def change(
    *,
    org: Org,
    node: Node | None = None,
    chain: str,
    address: str,
    by: User,
    password: str,
    otp: str,
    network_address: str,
    at: datetime,
) -> Wallet:
    """Sets the wallet of the organisation or, with `node`, of one node.

    Raises WalletError for an address that is none, is the wallet already, or for somebody else's node; and
    what `prove_identity` raises.
    """
    canonical = _checked(org, node, chain, address)
    prove_identity(by=by, password=password, otp=otp, address=network_address, at=at)
    with transaction.atomic():
        _alone(org)
        wallet = Wallet(
            org=org,
            node=node,
            chain=chain,
            address=canonical,
            state=WalletState.CONFIRMED,
            set_at=at,
            set_by=actor_of(by).id,
            network_address=network_address,
            confirmed_at=at,
            confirmed_by=actor_of(by).id,
            payouts_from=at + WALLET_WAITS,
        )
        former = _end_present(wallet, by=by, at=at)
        wallet.save(force_insert=True)
        _changed(wallet, former, by)
    return wallet


def stop(
    *, wallet: Wallet, by: User, password: str, otp: str, network_address: str, at: datetime, reason: str = ""
) -> Wallet | None:
    """Stops a change within 72 hours. Returns the wallet that holds again, None if there was none before.

    It is the last wallet whose own 72 hours had passed, however many changes came since, or else the first one. Payouts to it begin
    when those to the stopped one would have begun: whoever stops a change might be the thief. Raises
    WalletError if there is nothing to stop any more, and what `prove_identity` raises.
    """
    prove_identity(by=by, password=password, otp=otp, address=network_address, at=at)
    with transaction.atomic():
        _alone(wallet.org)
        wallet = Wallet.objects.select_related("org", "node").get(pk=wallet.pk)
        if wallet.state != WalletState.CONFIRMED or wallet.payouts_from is None:
            raise WalletError("This wallet no longer holds.")
        if wallet.payouts_from <= at:
            raise WalletError("The 72 hours are over. Change the wallet instead.")
        undoubted = _undoubted(wallet)
        if undoubted is not None and _same(undoubted, wallet):
            raise WalletError("This is the wallet from before the change, so there is nothing to stop.")
        wallet.state, wallet.ended_at, wallet.ended_by = WalletState.STOPPED, at, actor_of(by).id
        wallet.reason = reason.strip()[:300]
        wallet.save(update_fields=["state", "ended_at", "ended_by", "reason"])
        restored = None
        if undoubted is not None:
            restored = Wallet.objects.create(
                org=wallet.org,
                node=wallet.node,
                chain=undoubted.chain,
                address=undoubted.address,
                state=WalletState.CONFIRMED,
                set_at=at,
                set_by=actor_of(by).id,
                network_address=network_address,
                confirmed_at=at,
                confirmed_by=actor_of(by).id,
                payouts_from=wallet.payouts_from,
                reason="Holds again, because a change was stopped.",
            )
        _record(
            "wallet.stop", wallet, by, restored=restored.address if restored else "", reason=wallet.reason
        )
        tell_members(wallet, former=restored, by=actor_of(by).id, stopped=True)
    return restored


def changes_on_hold(org: Org, *, at: datetime) -> list[Wallet]:
    """The changes that members can still stop, newest first. Pages show them to all members."""
    return list(
        Wallet.objects.filter(org=org, state=WalletState.CONFIRMED, payouts_from__gt=at).select_related(
            "node"
        )
    )


def _checked(org: Org, node: Node | None, chain: str, address: str) -> str:
    """The canonical address. Raises WalletError."""
    if node is not None and node.org_id != org.pk:
        raise WalletError("This node belongs to another organisation.")
    try:
        return check_address(chain, address)
    except BadAddress as error:
        raise WalletError(error.message) from error
    except ValueError as error:
        raise WalletError("Choose a chain.") from error


def _alone(org: Org) -> None:
    """Keeps others from changing wallets of the organisation until the end of the transaction."""
    Org.objects.select_for_update(no_key=True).get(pk=org.pk)


def _present(wallet: Wallet) -> Wallet | None:
    return Wallet.objects.filter(org=wallet.org, node=wallet.node, state=WalletState.CONFIRMED).first()


def _end_present(wallet: Wallet, *, by: User, at: datetime) -> Wallet | None:
    """Ends the wallet that the new one takes the place of, and returns it. Raises WalletError if it is the same."""
    present = _present(wallet)
    if present is None:
        return None
    if _same(present, wallet):
        raise WalletError("This is already the wallet.")
    present.state, present.ended_at, present.ended_by = WalletState.REPLACED, at, actor_of(by).id
    present.save(update_fields=["state", "ended_at", "ended_by"])
    return present


def _undoubted(wallet: Wallet) -> Wallet | None:
    """The last wallet of the same owner that was replaced after its own 72 hours. Without one, the first of all."""
    former = list(
        Wallet.objects.filter(org=wallet.org, node=wallet.node, state=WalletState.REPLACED).order_by("-id")
    )
    for each in former:
        if each.payouts_from and each.ended_at and each.payouts_from <= each.ended_at:
            return each
    return former[-1] if former else None


def _same(one: Wallet, other: Wallet) -> bool:
    return (one.chain, one.address) == (other.chain, other.address)


def _changed(wallet: Wallet, former: Wallet | None, by: User) -> None:
    _record("wallet.change", wallet, by, former=former.address if former else "")
    tell_members(wallet, former=former, by=actor_of(by).id)


def _record(verb: str, wallet: Wallet, by: User, *, reason: str = "", **details: str) -> None:
    record(
        verb,
        by=actor_of(by),
        subject_kind="wallet",
        subject_id=str(wallet.pk),
        org_id=wallet.org_id,
        reason=reason,
        node=wallet.node_id or "",
        chain=wallet.chain,
        address=wallet.address,
        from_address=wallet.network_address,
        **details,
    )
