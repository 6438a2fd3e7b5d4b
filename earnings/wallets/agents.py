"""Wallets that agents registered for their nodes. They are proposals: nothing is paid to them until a person of
the organisation confirms them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from earnings.models import Chain, Wallet, WalletState
from earnings.rules.wallets import BadAddress, check_address
from jatevo.accounts.models import Org
from nodes.models import Node

# What agents call the chains. A name that is not here is shown as not understood.
_CHAINS: Final = {
    "solana": Chain.SOLANA,
    "sol": Chain.SOLANA,
    "evm": Chain.EVM,
    "ethereum": Chain.EVM,
    "eth": Chain.EVM,
}


@dataclass(frozen=True)
class AgentWallet:
    """An address that agents registered, and the nodes that did.

    `problem` says why it cannot be confirmed, '' if it can. Then `chain` and `address` are in canonical form,
    else as the agents wrote them.
    """

    chain: str
    address: str
    node_ids: tuple[str, ...]
    problem: str


def wallets_of_agents(org: Org) -> list[AgentWallet]:
    """The addresses that the organisation's agents registered and that are not paid to already."""
    said = (
        Node.objects.filter(org=org)
        .exclude(wallet_address="")
        .order_by("pk")
        .values_list("wallet_chain", "wallet_address", "pk")
    )
    confirmed = Wallet.objects.filter(org=org, state=WalletState.CONFIRMED)
    paid_to: dict[str | None, tuple[str, str]] = {
        node_id: (chain, address)
        for node_id, chain, address in confirmed.values_list("node_id", "chain", "address")
    }
    groups: dict[tuple[str, str, str], list[str]] = {}
    for chain, address, node_id in said:
        understood = _understood(chain, address)
        if understood[:2] != paid_to.get(node_id, paid_to.get(None)):
            groups.setdefault(understood, []).append(node_id)
    return [
        AgentWallet(chain, address, tuple(node_ids), problem)
        for (chain, address, problem), node_ids in groups.items()
    ]


def _understood(chain: str, address: str) -> tuple[str, str, str]:
    """The chain and the address in canonical form, and what is wrong with them."""
    named = chain.strip().lower()
    if named and named not in _CHAINS:
        return (
            chain,
            address,
            f"The console does not know the chain “{chain}”. It pays to Solana and EVM addresses.",
        )
    candidates: Iterable[Chain] = [_CHAINS[named]] if named else Chain
    problem = ""
    for each in candidates:
        try:
            return each.value, check_address(each, address), ""
        except BadAddress as error:
            problem = error.message
    return chain, address, problem if named else "This is no Solana and no EVM address."
