"""Two months of an organisation, and a rival's receipts in the same days."""

from datetime import UTC, date, datetime, timedelta

import pytest

from earnings.models import Line
from jatevo.accounts.models import User
from nodes.models import Node
from tests.earnings.rows import earn, finalise, judge, make_jtvo, make_rate, move, pay_out
from tests.factories import NodeFactory, OrgFactory, UserFactory

MARCH = datetime(2026, 3, 4, 12, tzinfo=UTC)
AFTER = datetime(2026, 4, 12, 12, tzinfo=UTC)  # March is final


@pytest.fixture
def operator() -> User:
    return UserFactory.create(org=OrgFactory.create(name="Ours & Co"))


@pytest.fixture
def node(operator: User) -> Node:
    """February and March: fees, a held receipt, an excluded one, a release, and a payment in March."""
    make_rate(input_usd="0.333333", output_usd="1.000001", cache_hit_discount="0.25")
    make_rate("qwen3", input_usd="1", output_usd="2")
    make_jtvo("2")
    node = NodeFactory.create(org=operator.org, id="node-a")
    second = NodeFactory.create(org=operator.org, id="node-b")
    rival = NodeFactory.create(id="rival-node", org=OrgFactory.create(name="Rivals"))
    earn(node, datetime(2026, 2, 10, 8, tzinfo=UTC), tokens_input=100_000_001, request_id="r_feb")
    finalise(date(2026, 2, 10))
    earn(node, MARCH, tokens_input=40_000_007, cache_hit=True, confirmed=True, request_id="r_1")
    earn(second, MARCH, model="QWEN3:latest", tokens_input=5_000_000, request_id="r_2", with_receipt=False)
    held = earn(node, MARCH, state="held", rule="late", cause="late", request_id="r_late")
    earn(node, MARCH, state="held", rule="implausible", cause="speed", request_id="r_fast")
    earn(node, MARCH, state="excluded", rule="in_service", cause="not_in_service", request_id="r_off")
    earn(rival, MARCH, request_id="r_rival")
    finalise(MARCH.date())
    judge(held, "payable", at=MARCH + timedelta(days=12), actor="admin@example.org", reason="explained")
    move(held.line, "release", "held", "accrued", held.fee_usd, at=MARCH + timedelta(days=12))
    pay_out(Line.objects.filter(node=node, day=date(2026, 2, 10)), at=MARCH + timedelta(days=20))
    earn(node, datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC), request_id="r_last")
    finalise(date(2026, 3, 31))
    return node
