"""Words of statements."""

from decimal import Decimal

from django import template

from earnings.figures.verdicts import cause_label
from earnings.models import Account
from earnings.statements.check import PROGRAM
from earnings.statements.ledger_part import HeldReason
from jatevo.web.exact import exact

register = template.Library()

_ACCOUNTS = {
    Account.ACCRUED: "Available",
    Account.HELD: "Held",
    Account.READY: "Ready for the next payment",
    Account.EXPORTED: "Paid out",
    Account.CARRIED: "Parts of a cent, carried",
}


@register.filter
def account_words(account: Account) -> str:
    return _ACCOUNTS[account]


@register.filter
def held_words(reason: HeldReason) -> str:
    return cause_label(reason.rule, reason.cause)


@register.filter
def exact_jtvo(value: Decimal) -> str:
    return f"{exact(value)} JTVO"


@register.simple_tag
def check_program() -> str:
    return PROGRAM
