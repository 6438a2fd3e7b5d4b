"""Items and verdicts go by whole months, once they are old and final. What sums them stays."""

from datetime import UTC, datetime, timedelta

import pytest

from earnings.models import Item, Line, Verdict
from jatevo.audit.models import AuditEvent
from jatevo.metrics import retention_policy
from nodes.models import Node
from tests.earnings.rows import earn, finalise
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db
OLD = datetime(2026, 1, 20, 12, 0, tzinfo=UTC)
RULES = ("earnings_item", "earnings_verdict")


def apply(at: datetime, *, dry_run: bool = False) -> dict[str, list[str]]:
    return {
        rule.name: [dropped.partition for dropped in rule.drop(rule.before(at), dry_run)]
        for rule in retention_policy.rules()
        if rule.name in RULES
    }


@pytest.fixture
def node() -> Node:
    made: Node = NodeFactory.create()
    return made


def test_a_month_goes_after_five_years_and_its_lines_stay(node: Node) -> None:
    earn(node, OLD)
    earn(node, OLD + timedelta(days=40))
    finalise(OLD.date())
    end = datetime(2026, 2, 1, tzinfo=UTC)
    just_before, after = end + timedelta(days=1827) - timedelta(seconds=1), end + timedelta(days=1827)
    assert apply(just_before) == {name: [] for name in RULES}
    assert apply(after, dry_run=True) == apply(after) == {name: [f"{name}_2026_01"] for name in RULES}
    assert (Item.objects.count(), Verdict.objects.count(), Line.objects.count()) == (1, 1, 2)
    assert AuditEvent.objects.filter(verb="earnings.month_dropped").count() == 2


def test_a_month_with_a_running_day_stays(node: Node) -> None:
    earn(node, OLD)
    assert apply(OLD + timedelta(days=4000)) == {name: [] for name in RULES}
