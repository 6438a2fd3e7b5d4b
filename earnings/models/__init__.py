"""The tables of earnings: prices and policies, items and lines, the ledger, wallets and payouts."""

from earnings.models.amounts import DECIMAL_PLACES
from earnings.models.items import (
    FinalDay,
    HeldItem,
    Item,
    JudgedCoverage,
    Line,
    RecheckDay,
    Verdict,
    VerdictsToDeliver,
)
from earnings.models.ledger import ROUTES, Account, LineBalance, Movement, MovementKind, NodeBalance
from earnings.models.payouts import ExportFile, Payment, Payout, PayoutState, Statement
from earnings.models.prices import JtvoRate, ModelLimit, PayoutSchedule, Policy, Rate
from earnings.models.statements import StatementPreference
from earnings.models.totals import DayTotal, HeldTotal, NetworkDayTotal, NodeTotal, OrgDayTotal
from earnings.models.wallets import Chain, Wallet, WalletState
from earnings.rules.verdicts import VerdictState

__all__ = [
    "DECIMAL_PLACES",
    "ROUTES",
    "Account",
    "Chain",
    "DayTotal",
    "ExportFile",
    "FinalDay",
    "HeldItem",
    "HeldTotal",
    "Item",
    "JtvoRate",
    "JudgedCoverage",
    "Line",
    "LineBalance",
    "ModelLimit",
    "Movement",
    "MovementKind",
    "NetworkDayTotal",
    "NodeBalance",
    "NodeTotal",
    "OrgDayTotal",
    "Payment",
    "Payout",
    "PayoutSchedule",
    "PayoutState",
    "Policy",
    "Rate",
    "RecheckDay",
    "Statement",
    "StatementPreference",
    "Verdict",
    "VerdictState",
    "VerdictsToDeliver",
    "Wallet",
    "WalletState",
]
