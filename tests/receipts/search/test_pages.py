"""The strip above the list: what it shows to whom, and what it says where figures are not known."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from guardian.shortcuts import assign_perm

from jatevo.accounts.models import Org, Role
from jatevo.metrics.store import MetricsUnavailable, Store
from nodes.models import Node
from receipts.search import totals as totals_module
from receipts.search.checking import note_as_gap
from receipts.search.filling import fill
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.earnings.rows import earn
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory
from tests.metrics.conftest import chdb_store
from tests.metrics.unhurried import unhurried

__all__ = ["chdb_store", "unhurried"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unhurried")]
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
URL = "/receipts/~totals/"
PART = {"HX-Request": "true", "HX-Target": "receipts-totals"}


def words(answer: object) -> str:
    return " ".join(text_of(answer).split())


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def stocked(chdb_store: Store, org: Org, node: Node) -> Store:
    """Two receipts of the organisation and one of another, all in the search."""
    earn(node, NOW - timedelta(minutes=90), state="held", rule="late", tokens_input=1_000_000)
    ReceiptFactory(node=node, at=NOW - timedelta(minutes=20), tokens_input=7, request_id="r_new")
    ReceiptFactory(node=NodeFactory.create(org=OrgFactory.create()), at=NOW - timedelta(minutes=10))
    fill(at=NOW, store=chdb_store)
    return chdb_store


def test_the_list_does_not_wait_for_its_totals(operator: Browser, node: Node) -> None:
    ReceiptFactory(node=node)
    page = text_of(operator.get("/receipts/?region=us-east"))
    assert 'hx-get="/receipts/~totals/?region=us-east"' in page
    assert "data-loads" in page
    assert '<a class="link" href="/receipts/~totals/?region=us-east">Show totals</a>' in page
    assert "tokens_input" not in page


def test_an_operator_sees_the_totals_and_fees_of_the_own_receipts(stocked: Store, operator: Browser) -> None:
    page = text_of(operator.get(URL, headers=PART))
    assert "<!doctype" not in page.lower()
    assert 'title="1,000,007"' in page
    assert "$" in page
    assert "Fees" in page
    found = operator.get(URL, headers=PART).context["strip"]
    assert found.receipts.value == 2
    assert [(part.chip.label, part.receipts) for part in found.parts] == [
        ("Payable", 0), ("Held", 1), ("Excluded", 0), ("Pending", 1)
    ]  # fmt: skip
    assert [part.fee_usd is None for part in found.parts] == [False, False, False, True]
    assert "/receipts/?payment=held" in page
    assert sum(bar.receipts for bar in found.bars) == 2


def test_an_admin_sees_them_all_and_a_viewer_no_fees(stocked: Store, node: Node) -> None:
    admin = Browser().hold_session(make_user(Role.ADMIN))
    assert admin.get(URL).context["strip"].receipts.value == 3
    viewer = make_user(Role.VIEWER)
    reader = Browser().hold_session(viewer)
    assert reader.get(URL).context["strip"].receipts.value == 0
    Node.objects.update(shared=True)
    assign_perm("nodes.view_node", viewer, node)
    answer = reader.get(URL, headers=PART)
    assert answer.context["strip"].receipts.value == 2
    assert "$" not in text_of(answer)
    assert all(part.fee_usd is None for part in answer.context["strip"].parts)


def test_links_lead_to_the_list_and_the_file_up_to_the_same_moment(stocked: Store, operator: Browser) -> None:
    page = operator.get(f"{URL}?hedged=false")
    assert page.context["list_url_as_of"] == "/receipts/?hedged=false&to=2026-11-10T11%3A59%3A55Z"
    assert page.context["export_url"] == "/receipts/~export/?hedged=false&as_of=2026-11-10T11:59:55Z"
    listed = operator.get(page.context["list_url_as_of"])
    assert len(listed.context["page"].rows) == page.context["strip"].receipts.value == 2
    assert operator.get(page.context["export_url"]).status_code == 200
    file = operator.get(page.context["export_url"].replace("~export/", "~export.jsonl"))
    assert len(b"".join(file.streaming_content).splitlines()) == 2  # type: ignore[attr-defined]


def test_a_search_that_makes_no_sense_has_no_totals(stocked: Store, operator: Browser) -> None:
    answer = operator.get(f"{URL}?from=yesterday")
    assert "strip" not in answer.context
    assert "From:" in words(answer)


def test_while_the_search_is_being_filled_the_page_says_so_and_shows_no_figure(
    chdb_store: Store, operator: Browser, node: Node
) -> None:
    for minutes in range(1, 6):
        ReceiptFactory(node=node, at=NOW - timedelta(minutes=minutes))
    assert "being prepared from the database" in words(operator.get(URL))
    fill(at=NOW, seconds=0, at_once=2, store=chdb_store)
    answer = operator.get(URL)
    assert "2 receipts, back to 10 Nov 2026, 11:58, are done" in words(answer)
    assert answer.context["strip"].receipts.value is None
    newest = operator.get(f"{URL}?from=2026-11-10T11:58:30Z")
    assert newest.context["strip"].receipts.value == 1


def test_an_emptied_clickhouse_is_never_a_zero(stocked: Store, operator: Browser) -> None:
    stocked.execute("TRUNCATE TABLE receipt_search")
    stocked.execute("TRUNCATE TABLE receipt_search_origin")
    answer = operator.get(URL)
    assert answer.context["strip"].receipts.value is None


def test_clickhouse_down_shows_the_last_good_figures_with_their_age(
    stocked: Store, operator: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Down:
        cluster = None

        def execute(self, sql: str, params: object = None) -> None:
            raise MetricsUnavailable("down")

    assert operator.get(URL).context["strip"].receipts.value == 2
    monkeypatch.setattr(totals_module, "get_store", Down)
    with time_machine.travel(NOW + timedelta(minutes=5), tick=False):
        answer = operator.get(URL)
        assert answer.context["strip"].receipts.value == 2
        assert "stale" in words(answer)
        unseen = operator.get(f"{URL}?region=mars")
        assert unseen.context["strip"].receipts.value is None
        assert "The metrics store does not answer." in words(unseen)


def test_a_visitor_is_sent_to_the_login_page() -> None:
    assert Browser().get(URL)["Location"] == "/login/?next=/receipts/~totals/"


def test_receipts_that_have_just_arrived_are_not_said_to_be_none(
    chdb_store: Store, operator: Browser, node: Node
) -> None:
    fill(at=NOW, store=chdb_store)
    assert "just arrived" not in words(operator.get(URL, headers=PART))  # there are none
    ReceiptFactory(node=node, at=NOW - timedelta(seconds=2))
    answer = operator.get(URL, headers=PART)
    assert "have just arrived" in words(answer)
    assert 'data-again-seconds="5"' in text_of(answer)
    note_as_gap(NOW - timedelta(seconds=5), NOW)
    fill(at=NOW, store=chdb_store)
    with time_machine.travel(NOW + timedelta(seconds=10), tick=False):
        answer = operator.get(URL, headers=PART)
    assert answer.context["strip"].receipts.value == 1
