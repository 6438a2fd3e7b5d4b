"""The ledger: movements between accounts, and the balances that the database keeps of them.

A movement is a double entry in one row: the amount leaves one account and enters another. Rows are never
changed or deleted; migration 0002 lets the database refuse that. A trigger adds each movement to the balances
of its line and its node, which nothing else writes.
"""

from django.db import models
from django.db.models.functions import Now

from earnings.models.amounts import usd
from jatevo.accounts.models import Org
from nodes.models import Node


class Account(models.TextChoices):
    NETWORK = "network", "Network"  # the counter-account: what the network owes for work
    ACCRUED = "accrued", "Accrued"
    HELD = "held", "Held"
    READY = "ready", "Ready"
    EXPORTED = "exported", "Exported"
    CARRIED = "carried", "Carried"  # parts of a cent, kept for the next payout


class MovementKind(models.TextChoices):
    ACCRUE = "accrue", "Accrued"
    HOLD = "hold", "Held"
    RELEASE = "release", "Released"
    EXCLUDE = "exclude", "Excluded"
    READY = "ready", "Marked ready"
    UNREADY = "unready", "Taken back from ready"
    EXPORT = "export", "Exported"
    RETURN = "return", "Returned"
    CARRY_OUT = "carry_out", "Carried to the next payout"
    CARRY_IN = "carry_in", "Carried from the last payout"


# The accounts that each kind leads from and to.
ROUTES: dict[MovementKind, frozenset[tuple[Account, Account]]] = {
    MovementKind.ACCRUE: frozenset({(Account.NETWORK, Account.ACCRUED)}),
    MovementKind.HOLD: frozenset({(Account.NETWORK, Account.HELD), (Account.ACCRUED, Account.HELD)}),
    MovementKind.RELEASE: frozenset({(Account.HELD, Account.ACCRUED)}),
    MovementKind.EXCLUDE: frozenset({(Account.HELD, Account.NETWORK), (Account.ACCRUED, Account.NETWORK)}),
    MovementKind.READY: frozenset({(Account.ACCRUED, Account.READY), (Account.READY, Account.ACCRUED)}),
    MovementKind.UNREADY: frozenset({(Account.READY, Account.ACCRUED), (Account.ACCRUED, Account.READY)}),
    MovementKind.EXPORT: frozenset({(Account.READY, Account.EXPORTED), (Account.EXPORTED, Account.READY)}),
    MovementKind.RETURN: frozenset(
        {(Account.EXPORTED, Account.ACCRUED), (Account.ACCRUED, Account.EXPORTED)}
    ),
    MovementKind.CARRY_OUT: frozenset({(Account.EXPORTED, Account.CARRIED)}),
    MovementKind.CARRY_IN: frozenset({(Account.CARRIED, Account.EXPORTED)}),
}


def _known_route() -> models.Q:
    known = models.Q()
    for kind, routes in ROUTES.items():
        for source, target in sorted(routes):
            known |= models.Q(kind=kind.value, from_account=source.value, to_account=target.value)
    return known


class Movement(models.Model):
    """An amount that moves from one account to another. Append-only.

    `line` is null for parts of a cent, which belong to a wallet. `at` is the date that statements use.
    A line that owes (its `accrued` is negative) takes part in a payout with a movement in the other direction.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)
    kind = models.CharField(max_length=10, choices=MovementKind.choices)
    from_account = models.CharField(max_length=8, choices=Account.choices)
    to_account = models.CharField(max_length=8, choices=Account.choices)
    amount_usd = usd()
    line = models.ForeignKey("Line", on_delete=models.PROTECT, null=True, related_name="movements")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, null=True, related_name="+")
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="+")
    payout = models.ForeignKey("Payout", on_delete=models.PROTECT, null=True, related_name="movements")
    payment = models.ForeignKey("Payment", on_delete=models.PROTECT, null=True, related_name="movements")
    actor = models.CharField(max_length=320)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["org", "at"], name="movement_by_org"),
            models.Index(fields=["node", "at"], name="movement_by_node"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(amount_usd__gt=0), name="movement_amount_positive"),
            models.CheckConstraint(condition=_known_route(), name="movement_route_known"),
            models.CheckConstraint(
                condition=models.Q(kind__in=["carry_in", "carry_out"], line__isnull=True)
                | ~models.Q(kind__in=["carry_in", "carry_out"])
                & models.Q(line__isnull=False, node__isnull=False),
                name="movement_has_its_line",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount_usd} {self.from_account} → {self.to_account}"


class LineBalance(models.Model):
    """What a final line has in each account. The database keeps it.

    `unconfirmed` is the part of the line's fees that no gateway confirms.
    """

    line = models.OneToOneField("Line", on_delete=models.PROTECT, primary_key=True, related_name="balance")
    accrued = usd(default=0)
    held = usd(default=0)
    ready = usd(default=0)
    exported = usd(default=0)
    unconfirmed = usd(db_default=0)

    class Meta:
        indexes = [
            models.Index(
                fields=["line"], name="line_balance_open", condition=~models.Q(accrued=0) | ~models.Q(ready=0)
            )
        ]

    def __str__(self) -> str:
        return f"line {self.line_id}: {self.accrued} accrued"


class NodeBalance(models.Model):
    """What a node has earned for an organisation, by account. The database keeps it.

    `owed` is the sum of those lines whose `accrued` is negative. `unconfirmed` and `ready_unconfirmed` are the parts
    of what is accrued and ready that no gateway confirms. Parts of a cent of an organisation's wallet are in a row
    without a node.
    """

    id = models.BigAutoField(primary_key=True)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="earnings_balances")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, null=True, related_name="earnings_balances")
    accrued = usd(default=0)
    held = usd(default=0)
    ready = usd(default=0)
    exported = usd(default=0)
    carried = usd(default=0)
    owed = usd(db_default=0)
    unconfirmed = usd(db_default=0)
    ready_unconfirmed = usd(db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "node"], name="node_balance_once", nulls_distinct=False)
        ]

    def __str__(self) -> str:
        return f"{self.node_id or self.org_id}: {self.accrued} accrued"
