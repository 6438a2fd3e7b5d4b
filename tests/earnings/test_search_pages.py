"""Pages that ClickHouse finds have the rows and the order of those that PostgreSQL finds, forwards and backwards."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from earnings.models import Item
from jatevo.accounts.models import Org, Role
from jatevo.metrics.store import MetricsUnavailable, Store
from receipts import views
from receipts.models import Receipt
from receipts.search import conditions, finding
from receipts.search.filling import fill
from receipts.search.verdicts import deliver_verdicts
from tests.accounts.browser import Browser
from tests.earnings.rows import judge
from tests.earnings.search_scene import SearchScene, matching
from tests.factories import ReceiptFactory, UserFactory
from tests.metrics.conftest import chdb_store
from tests.metrics.unhurried import Done, unhurried

__all__ = ["chdb_store", "unhurried"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unhurried")]

T = TypeVar("T")
NOW = datetime(2026, 11, 10, 12, 0, 0, 300_000, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """PostgreSQL is always too slow. Pages are short. Returns which searches ClickHouse was asked for."""
    asked: list[str] = []
    by_ids = finding._by_ids

    def noted(*arguments: object, **named: object) -> object:
        page = by_ids(*arguments, **named)  # type: ignore[arg-type]
        asked.append("found" if page else "given up")
        return page

    monkeypatch.setattr(finding, "in_time", lambda work, seconds: None)
    monkeypatch.setattr(finding, "_by_ids", noted)
    monkeypatch.setattr(finding, "KEPT_SECONDS", 1)
    monkeypatch.setattr(views, "PER_PAGE", 3)
    return asked


def page_of(browser: Browser, search: dict[str, str]) -> tuple[list[int], str | None, str | None]:
    answer = browser.get("/receipts/", search)
    assert answer.status_code == 200
    page = answer.context["page"]
    return [receipt.id for receipt in page.rows], page.next, page.previous


@pytest.mark.parametrize(
    ("seed", "span"), [(7, timedelta(seconds=40)), (12, timedelta(days=20)), (13, timedelta(days=400))]
)
def test_every_page_of_random_searches_forwards_and_backwards(
    chdb_store: Store, impatient: list[str], seed: int, span: timedelta
) -> None:
    scene = SearchScene(seed, now=NOW, receipts=24, span=span)
    while fill(at=NOW + timedelta(hours=1), store=chdb_store, at_once=9).left:
        pass
    browsers: list[tuple[Browser, Org | None]] = [
        (Browser().hold_session(UserFactory.create(role=Role.ADMIN)), None)
    ]
    org = scene.orgs[0]
    browsers.append((Browser().hold_session(UserFactory.create(role=Role.OPERATOR, org=org)), org))
    walked = 0
    for number in range(10):
        search = {"hedged": "false", **scene.search()}
        browser, reader_org = browsers[number % 2]
        known = sorted(
            matching(scene.seen_by(reader_org), search),
            key=lambda each: (each.accepted_at, each.id),
            reverse=True,
        )
        expected = [each.id for each in known]
        listed, cursor, previous = [], None, None
        first = True
        while first or cursor:
            rows, cursor, previous = page_of(browser, search | ({"cursor": cursor} if cursor else {}))
            listed += rows
            first = False
        if browser.get("/receipts/", search).context["search"].problems:
            continue
        assert listed == expected
        while previous:
            rows, _, previous = page_of(browser, search | {"before": previous})
            place = expected.index(rows[0])
            assert rows == expected[place : place + 3]
            walked += 1
        assert page_of(browser, search)[0] == expected[:3]
    assert walked > 4
    assert impatient.count("found") > 15


def test_a_receipt_of_the_last_seconds_is_on_the_first_page(chdb_store: Store, impatient: list[str]) -> None:
    scene = SearchScene(8, now=NOW - timedelta(minutes=1), receipts=5, span=timedelta(minutes=5))
    fill(at=NOW, store=chdb_store)
    browser = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    before = page_of(browser, {"outcome": "ok"})[0]
    new = ReceiptFactory(node=scene.nodes[0], at=NOW - timedelta(seconds=1))
    assert page_of(browser, {"outcome": "ok"})[0] == [new.id, *before][:3]


def test_a_verdict_that_changed_since_makes_postgresql_look_for_the_page(
    chdb_store: Store, impatient: list[str]
) -> None:
    SearchScene(9, now=NOW - timedelta(minutes=1), receipts=30, span=timedelta(minutes=5))
    fill(at=NOW, store=chdb_store)
    browser = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    wanted = list(
        Receipt.objects.filter(cache_hit=False).order_by("-accepted_at", "-id").values_list("id", flat=True)
    )
    Receipt.objects.filter(id__in=wanted[:6]).update(cache_hit=True)
    assert page_of(browser, {"cache_hit": "false"})[0] == wanted[6:9]
    assert impatient[-1] == "given up"


def test_a_payment_state_that_a_receipt_has_lost_does_not_bring_it_back(
    chdb_store: Store, impatient: list[str]
) -> None:
    scene = SearchScene(14, now=NOW - timedelta(minutes=1), receipts=30, span=timedelta(days=3))
    fill(at=NOW, store=chdb_store)
    held = [each for each in scene.known if each.payment == "held"]
    item = Item.objects.get(receipt_id=held[0].id)
    judge(item, "payable", at=NOW)
    deliver_verdicts(store=chdb_store)  # ClickHouse has both rows of it until it merges them
    browser = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    listed: list[int] = []
    cursor: str | None = None
    while cursor or not listed:
        rows, cursor, _ = page_of(browser, {"payment": "held", **({"cursor": cursor} if cursor else {})})
        listed += rows
    newest_first = sorted(held[1:], key=lambda each: (each.accepted_at, each.id), reverse=True)
    assert listed == [each.id for each in newest_first]


def test_the_few_receipts_with_an_id_are_not_asked_of_clickhouse(
    chdb_store: Store, impatient: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = SearchScene(15, now=NOW - timedelta(minutes=1), receipts=12, span=timedelta(days=3))
    fill(at=NOW, store=chdb_store)
    browser = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    one = scene.known[3]
    assert page_of(browser, {"request_id": one.request_id})[0] == [one.id]
    assert page_of(browser, {"request_id": one.request_id, "region": "nowhere"})[0] == []
    assert impatient == []
    monkeypatch.setattr(conditions, "MOST_LOOKED_UP", 0)
    assert page_of(browser, {"request_id": one.request_id})[0] == [one.id]
    assert impatient == ["found"]


def test_that_a_search_is_rare_is_remembered_for_its_other_pages(
    chdb_store: Store, impatient: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    SearchScene(17, now=NOW - timedelta(minutes=1), receipts=20, span=timedelta(days=3))
    fill(at=NOW, store=chdb_store)
    tried: list[float] = []

    def too_slow(work: object, seconds: float) -> None:
        tried.append(seconds)

    monkeypatch.setattr(finding, "in_time", too_slow)
    browser = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    _, cursor, _ = page_of(browser, {"hedged": "false"})
    assert cursor is not None
    page_of(browser, {"hedged": "false", "cursor": cursor})
    assert tried == [finding.FREQUENT_SECONDS]
    page_of(browser, {"hedged": "true"})
    assert tried == [finding.FREQUENT_SECONDS] * 2
    assert impatient == ["found"] * 3


@pytest.mark.parametrize(("share", "tries"), [(1.0, 0), (0.05, 1)])
def test_who_sees_a_few_nodes_of_many_is_answered_by_clickhouse_at_once(
    chdb_store: Store, impatient: list[str], monkeypatch: pytest.MonkeyPatch, share: float, tries: int
) -> None:
    scene = SearchScene(21, now=NOW - timedelta(minutes=1), receipts=40, span=timedelta(days=40))
    fill(at=NOW, store=chdb_store)
    tried: list[float] = []
    monkeypatch.setattr(finding, "in_time", lambda work, seconds: tried.append(seconds))
    monkeypatch.setattr(finding, "FEW_SHARE", share)
    org = scene.orgs[0]
    operator = Browser().hold_session(UserFactory.create(role=Role.OPERATOR, org=org))
    own = sorted(scene.seen_by(org), key=lambda each: (each.accepted_at, each.id), reverse=True)
    shown: list[int] = []
    search: dict[str, str] = {}
    while True:  # to the end, and back from there
        rows, onward, back = page_of(operator, search)
        shown += rows
        if onward is None:
            break
        search = {"cursor": onward}
    assert shown == [each.id for each in own]
    assert back is not None
    assert page_of(operator, {"before": back})[0] == shown[-len(rows) - 3 : -len(rows)]
    assert len(tried) == tries, "that it is rare is remembered"


def test_who_sees_few_of_all_receipts_waits_for_no_walk_over_the_others(
    chdb_store: Store, impatient: list[str]
) -> None:
    scene = SearchScene(17, now=NOW - timedelta(minutes=1), receipts=24, span=timedelta(days=3))
    fill(at=NOW, store=chdb_store)
    org = scene.orgs[0]
    operator = Browser().hold_session(UserFactory.create(role=Role.OPERATOR, org=org))
    admin = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    own = [
        each.id
        for each in sorted(scene.seen_by(org), key=lambda each: (each.accepted_at, each.id), reverse=True)
    ]
    assert page_of(operator, {})[0] == own[:3]
    assert page_of(operator, {"from": f"{NOW - timedelta(days=4):%F}"})[0] == own[:3]
    assert impatient == ["found"] * 2
    page_of(operator, {"node_id": scene.nodes[0].pk})
    page_of(admin, {})
    page_of(admin, {"from": f"{NOW - timedelta(days=4):%F}"})
    assert impatient == ["found"] * 2, "an index leads to these"


def test_id_that_others_receipts_share_the_start_of_finds_ones_own(
    chdb_store: Store, impatient: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = SearchScene(18, now=NOW - timedelta(minutes=1), receipts=30, span=timedelta(days=3))
    fill(at=NOW, store=chdb_store)
    org = scene.orgs[0]
    operator = Browser().hold_session(UserFactory.create(role=Role.OPERATOR, org=org))
    own = sorted(
        (each for each in scene.seen_by(org) if each.request_id.startswith("a")),
        key=lambda each: (each.accepted_at, each.id),
        reverse=True,
    )
    for most, asked in ((1000, []), (len(own), ["found"])):
        monkeypatch.setattr(conditions, "MOST_LOOKED_UP", most)
        with CaptureQueriesContext(connection) as queries:
            assert page_of(operator, {"request_id": "a"})[0] == [each.id for each in own[:3]]
        assert impatient == asked
        looked_up = [each for each in queries.captured_queries if each["sql"].endswith(f" LIMIT {most + 1}")]
        assert len(looked_up) == 1, "the index is asked once for a page"
        # and is left alone once many are known to share the start
        compared = [each for each in queries.captured_queries if '"request_id"::text LIKE' in each["sql"]]
        assert len(compared) == (1 if asked else 2)


def test_a_late_answer_of_clickhouse_is_waited_for_after_postgresql_had_its_turn(
    chdb_store: Store, impatient: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = SearchScene(16, now=NOW - timedelta(minutes=1), receipts=12, span=timedelta(days=3))
    fill(at=NOW, store=chdb_store)
    waited: list[float] = []

    class Late(Done[T]):
        def within(self, seconds: float) -> T:
            waited.append(seconds)
            if seconds == finding.USUAL_SECONDS:
                raise MetricsUnavailable("late")
            return super().within(seconds)

    monkeypatch.setattr(finding, "asking", Late)
    browser = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    expected = [each.id for each in scene.known if each.region == "eu"]
    assert set(page_of(browser, {"region": "eu"})[0]) <= set(expected)
    assert waited == [finding.USUAL_SECONDS, finding.PATIENT_SECONDS]
    assert impatient == ["given up", "found"]


def test_without_clickhouse_postgresql_finds_the_page(
    chdb_store: Store, impatient: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Down:
        cluster = None

        def execute(self, sql: str, params: object = None) -> None:
            raise MetricsUnavailable("down")

    SearchScene(10, now=NOW - timedelta(minutes=1), receipts=8, span=timedelta(minutes=5))
    browser = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    expected = list(
        Receipt.objects.filter(hedged=False).order_by("-accepted_at", "-id").values_list("id", flat=True)
    )
    assert page_of(browser, {"hedged": "false"})[0] == expected[:3]  # the search is not filled
    fill(at=NOW, store=chdb_store)
    monkeypatch.setattr(finding, "get_store", Down)
    assert page_of(browser, {"hedged": "false"})[0] == expected[:3]
    assert set(impatient) == {"given up"}


def test_the_api_lists_the_same_receipts_page_by_page(chdb_store: Store, impatient: list[str]) -> None:
    SearchScene(11, now=NOW - timedelta(minutes=1), receipts=30, span=timedelta(minutes=5))
    fill(at=NOW, store=chdb_store)
    browser = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    expected = Receipt.objects.filter(hedged=False).order_by("-accepted_at", "-id")
    listed: list[str] = []
    cursor: str | None = None
    while cursor or not listed:
        more = {"cursor": cursor} if cursor else {}
        answer = browser.get("/v1/receipts", {"hedged": "false", "limit": "4", **more}).json()
        listed += [each["request_id"] for each in answer["results"]]
        cursor = answer["next"]
    assert listed == [receipt.request_id for receipt in expected]
    assert impatient == ["found"] * (-(-len(listed) // 4))
