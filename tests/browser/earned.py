"""What nodes of three organisations earned in a month that is final by now, written into the running console.

Nobody can wait in a test until a day is final, 8 days after its end. So this program writes the rows as the accrual
leaves them. It runs in the console's environment (`RunningConsole.work`), in one transaction that the console's own
worker sees as a whole, and prints what the tests need to know as JSON.
"""

import json
import secrets
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TypedDict

HELD = "Held Compute"
PAID = "Paid Compute"
FILED = "Filed Compute"
OWN_WALLET = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"
ORG_WALLET = "4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T"


class Earned(TypedDict):
    """`orgs` has ids by name, `month` reads like 2026-09, and the two people are logins."""

    orgs: dict[str, str]
    month: str
    first_day: str
    last_day: str
    second_admin: dict[str, str]
    operator: dict[str, str]


def month_before_last(today: date) -> date:
    """The first day of the newest month that is final on any day of this one."""
    first = today.replace(day=1)
    for _ in range(2):
        first = (first - timedelta(days=1)).replace(day=1)
    return first


def write() -> Earned:
    """Writes all rows. Can run once in an installation, after the default rate was set."""
    # Django must be set up first.
    from django.db import transaction
    from django.utils import timezone

    from earnings.models import Wallet
    from jatevo.accounts.models import Org, Role, User
    from nodes.actions.reputation import recompute
    from nodes.models import Node, ReputationDay
    from tests.earnings.rows import earn, finalise
    from tests.factories import NodeFactory

    now = timezone.now()
    month = month_before_last(now.date())
    day, next_day = (datetime(month.year, month.month, each, 12, tzinfo=UTC) for each in (5, 6))

    def org(name: str, address: str) -> Org:
        made = Org.objects.create(name=name)
        wallet(made, address)
        return made

    def wallet(of: Org, address: str, node: Node | None = None) -> None:
        Wallet.objects.create(
            org=of,
            node=node,
            chain="solana",
            address=address,
            state="confirmed",
            set_by="test",
            confirmed_at=day - timedelta(days=3),
            confirmed_by="test",
            payouts_from=day,
        )

    def node(name: str, of: Org) -> Node:
        """A node with a reputation that also the console's next computation finds."""
        made = NodeFactory.create(id=name, org=of)
        ReputationDay.objects.create(
            node=made,
            day=now.date() - timedelta(days=5),
            evidence={"health": {"failed": 0, "total": 5000}},
            computed_at=now,
        )
        recompute(at=now, node_ids=[name])
        return made

    def person(email: str, role: Role, of: Org | None) -> dict[str, str]:
        password = secrets.token_urlsafe(12)
        User.objects.create_user(email, password, role=role, org=of)
        return {"email": email, "password": password}

    with transaction.atomic():
        held = org(HELD, "So11111111111111111111111111111111111111112")
        for name, cause, rule, number in (
            ("held-fast", "speed", "implausible", 2),
            ("held-hasty", "speed", "implausible", 1),
            ("held-late", "late", "late", 1),
        ):
            made = node(name, held)
            for _ in range(number):
                earn(made, day, state="held", rule=rule, cause=cause, tokens_input=2_000_000)

        paid = org(PAID, ORG_WALLET)
        for name, confirmed in (
            ("paid-one", False), ("paid-two", False), ("paid-twice", True), ("paid-plain", True),
        ):  # fmt: skip
            made = node(name, paid)
            earn(made, day, tokens_input=40_000_000, confirmed=confirmed)
            if name == "paid-two":
                wallet(paid, OWN_WALLET, made)

        filed = org(FILED, "7dHbWXmci3dT8UFYWYZweBLXgycu7Y3iL6trKn1Y7ARj")
        made = node("filed-one", filed)
        for number, at in enumerate((day, day, next_day, next_day)):
            earn(made, at, tokens_input=1_000_003 + number, cache_hit=number == 1)
        earn(made, day, state="held", rule="late", cause="late")
        earn(made, day, state="excluded", rule="in_service", cause="not_in_service")
        earn(node("filed-two", filed), next_day, tokens_input=3_000_000)

        for each in (day, next_day):
            finalise(each.date())
        return {
            "orgs": {each.name: str(each.pk) for each in (held, paid, filed)},
            "month": f"{month:%Y-%m}",
            "first_day": f"{day:%Y-%m-%d}",
            "last_day": f"{next_day:%Y-%m-%d}",
            "second_admin": person("second-admin@jatevo.local", Role.ADMIN, None),
            "operator": person("filed@jatevo.local", Role.OPERATOR, filed),
        }


def dollars(text: str) -> Decimal:
    """'$1,234.56' as a number."""
    return Decimal(text.strip().removeprefix("$").replace(",", ""))


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(write()))
