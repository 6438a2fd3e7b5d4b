"""The list of nodes as CSV."""

import csv
import io
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from jatevo.accounts.models import Org, User
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser
from tests.factories import NodeFactory
from tests.nodes.list.node_list import stand

pytestmark = pytest.mark.django_db


def test_the_export_honours_filters_order_and_columns(operator: Browser, org: Org) -> None:
    for number in range(30):
        stand(NodeFactory.create(id=f"n-{number:02}", org=org, region="us"), p95_ms=float(number))
    NodeFactory.create(id="elsewhere", org=org, region="eu")
    NodeFactory.create(id="rival", region="us")
    answer = operator.get("/nodes/~export.csv?region=us&sort=-p95&columns=p95,region")
    lines = list(csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))
    assert lines[0] == ["node_id", "region", "p95_ms", "p95_state", "p95_as_of"]
    assert [line[0] for line in lines[1:]] == [f"n-{number:02}" for number in reversed(range(30))]
    assert lines[1][:4] == ["n-29", "us", "29.0", "known"]
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert re.search(r'filename="jatevo-nodes-\d{4}-\d\d-\d\d.csv"', answer["Content-Disposition"])
    event = AuditEvent.objects.get(verb="node.export")
    assert event.details["query"] == "?region=us&sort=-p95&columns=p95,region"


def test_the_export_says_how_well_each_figure_is_known_and_when(operator: Browser, org: Org) -> None:
    now = timezone.now()
    stand(NodeFactory.create(id="fresh", org=org), p95_ms=5.0, uptime_7d=1.0)
    stand(NodeFactory.create(id="old", org=org), p95_ms=5.0, uptime_7d=0.0, ago=timedelta(days=3))
    NodeFactory.create(id="unmeasured", org=org)
    text = operator.get("/nodes/~export.csv?columns=p95,uptime").getvalue().decode("utf-8-sig")
    fresh, old, unmeasured = csv.DictReader(io.StringIO(text))
    assert (fresh["p95_state"], fresh["uptime_state"]) == ("known", "known")
    assert (old["p95_ms"], old["p95_state"]) == ("5.0", "stale")
    assert (old["uptime_7d_ratio"], old["uptime_state"]) == ("0.0", "stale")
    for name in ("p95_as_of", "uptime_as_of"):
        assert old[name].startswith(f"{now - timedelta(days=3):%Y-%m-%d}")
    assert (unmeasured["p95_ms"], unmeasured["p95_state"], unmeasured["uptime_state"]) == (
        "",
        "unknown",
        "unknown",
    )


def test_the_export_is_in_the_persons_zone_and_opens_in_a_spreadsheet(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org, id="n-1", agent_version="\n=cmd()", models_offered=["青岛"])
    User.objects.update(time_zone="Asia/Shanghai")
    raw = operator.get("/nodes/~export.csv?columns=registered,agent,models").getvalue()
    assert raw.startswith(b"\xef\xbb\xbfnode_id")
    (line,) = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
    assert line["registered"].endswith("+08:00")
    assert line["agent"] == "'\n=cmd()"
    assert line["models"] == "青岛"


@pytest.mark.parametrize("query", ["?status=activ", "?reputation_range=90-40", "?q=%00"])
def test_a_filter_that_makes_no_sense_exports_nothing_and_leads_back(
    operator: Browser, org: Org, query: str
) -> None:
    NodeFactory.create(org=org)
    answer = operator.get(f"/nodes/~export.csv{query}")
    assert (answer.status_code, answer["Location"]) == (302, f"/nodes/{query}")
    assert "Nothing was exported" in operator.get(answer["Location"]).content.decode()
    assert not AuditEvent.objects.filter(verb="node.export").exists()


def test_an_exported_cell_is_never_a_formula(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org, agent_version="=cmd()", models_offered=["@SUM(A1)"])
    text = operator.get("/nodes/~export.csv?columns=agent,models").getvalue().decode("utf-8-sig")
    assert "'=cmd()" in text
    assert "'@SUM(A1)" in text
