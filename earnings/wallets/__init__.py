"""Wallets: where an organisation, or one of its nodes, is paid. Changes, their mails, and what agents registered."""

from earnings.wallets.agents import AgentWallet, wallets_of_agents
from earnings.wallets.changes import (
    STOPPABLE_FOR,
    WalletError,
    change,
    changes_on_hold,
    confirm,
    propose,
    stop,
)

__all__ = [
    "STOPPABLE_FOR",
    "AgentWallet",
    "WalletError",
    "change",
    "changes_on_hold",
    "confirm",
    "propose",
    "stop",
    "wallets_of_agents",
]
