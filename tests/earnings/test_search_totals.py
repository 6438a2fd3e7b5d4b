"""Strip, histogram, list, export and API agree on every search, for every reader."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.http import QueryDict
from django.utils import timezone

from jatevo.accounts.models import Role, User
from jatevo.metrics.models import ReceiptGap
from jatevo.metrics.store import Store
from receipts import aggregates
from receipts.aggregates import aggregate, aggregates_of
from receipts.exports.columns import rows_of
from receipts.exports.query import read_query
from receipts.filters import ReceiptFilter
from receipts.forms import ReceiptSearch
from receipts.models import Receipt, ReceiptQuerySet
from receipts.search import conditions
from receipts.search.conditions import CONDITIONS, LOOKED_UP
from receipts.search.filling import fill
from receipts.search.totals import Totals, totals_of
from receipts.search.verdicts import deliver_verdicts
from tests.earnings.search_scene import Known, SearchScene, matching
from tests.factories import NodeFactory, ReceiptFactory, UserFactory
from tests.metrics.conftest import chdb_store
from tests.metrics.unhurried import unhurried

__all__ = ["chdb_store", "unhurried"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unhurried")]

NOW = datetime(2026, 11, 10, 12, 0, 0, 300_000, tzinfo=UTC)
AS_OF = datetime(2026, 11, 10, 11, 59, 55, tzinfo=UTC)


def filled(store: Store) -> None:
    while fill(at=NOW + timedelta(hours=2), store=store, at_once=7).left:
        pass
    assert not ReceiptGap.objects.exists()


def totals(search: dict[str, str], user: User, *, at: datetime = NOW) -> Totals:
    query = QueryDict(mutable=True)
    query.update(search)
    asked = ReceiptSearch(query, queryset=Receipt.objects.visible_to(user))
    assert not asked.problems
    found = totals_of(asked, user, at=at)
    assert found.totals is not None
    assert not found.stale
    return found.totals


def check(found: Totals, known: list[Known]) -> None:
    """The totals are those of the receipts, added up one by one."""
    assert found.receipts == len(known)
    assert (found.tokens_input, found.tokens_output) == (
        sum(each.tokens_input for each in known),
        sum(each.tokens_output for each in known),
    )
    assert found.cache_hits == sum(each.cache_hit for each in known)
    assert found.failures == sum(each.outcome == "error" for each in known)
    if known:
        assert found.p95_ms == pytest.approx(sum(each.p95_ms for each in known) / len(known))
    else:
        assert (found.p95_ms, found.cache_hit_rate) == (None, None)
    for state, paid in found.by_payment.items():
        of_state = [each for each in known if each.payment == state]
        assert (paid.receipts, paid.fee_usd) == (
            len(of_state),
            sum((each.fee_usd for each in of_state), Decimal(0)),
        )
    assert sum(bar.receipts for bar in found.bars) == len(known)
    for bar in found.bars:
        within = [each for each in known if bar.start <= each.accepted_at < bar.end]
        assert bar.receipts == len(within)
        assert sum(bar.by_payment.values()) == len(within)
    assert len(found.bars) <= 120


def check_api(search: dict[str, str], user: User) -> None:
    """The API's sums are those of PostgreSQL until now, whether ClickHouse adds up most of it or none."""
    query = QueryDict(mutable=True)
    query.update(search)
    asked = ReceiptFilter(query, queryset=Receipt.objects.visible_to(user))
    assert asked.is_valid()
    assert aggregates_of(asked, user, at=NOW) == aggregate(asked.qs)


def test_every_filter_has_a_condition_in_clickhouse() -> None:
    assert (
        set(CONDITIONS) | set(LOOKED_UP) == set(ReceiptFilter.base_filters) == set(ReceiptSearch.base_filters)
    )


@pytest.mark.parametrize(
    ("seed", "span"), [(1, timedelta(hours=2)), (2, timedelta(days=3)), (3, timedelta(days=80))]
)
def test_all_of_them_agree_on_random_searches(chdb_store: Store, seed: int, span: timedelta) -> None:
    scene = SearchScene(seed, now=NOW, receipts=60, span=span)
    filled(chdb_store)
    deliver_verdicts(store=chdb_store)
    readers = [
        (UserFactory.create(role=Role.ADMIN), None),
        *((UserFactory.create(role=Role.OPERATOR, org=org), org) for org in scene.orgs),
    ]
    searches_with_results = 0
    for _ in range(40):
        search = scene.search()
        reader, org = scene.draw.choice(readers)
        zone = ZoneInfo(scene.draw.choice(("UTC", "America/New_York", "Asia/Kolkata")))
        if any(len(search.get(name, "")) == 10 for name in ("from", "to")):
            zone = ZoneInfo("UTC")
        query = QueryDict(mutable=True)
        query.update(search)
        known = [each for each in matching(scene.seen_by(org), search) if each.accepted_at < AS_OF]
        with timezone.override(zone):
            listed = ReceiptSearch(
                query, queryset=Receipt.objects.visible_to(reader).filter(accepted_at__lt=AS_OF)
            )
            if listed.problems:
                continue  # From lies after To
            found = totals(search, reader)
        assert found.as_of == AS_OF
        check(found, known)
        searches_with_results += bool(known)
        assert {each.id for each in listed.qs} == {each.id for each in known}
        asked = read_query(query, reader, zone=zone, at=NOW, settled=True)
        assert asked.as_of == AS_OF
        assert [each.receipt.id for each in rows_of(asked.found)] == [
            each.id for each in sorted(known, key=lambda each: (each.accepted_at, each.id), reverse=True)
        ]
        sums = aggregate(listed.qs)
        assert (sums.count, sums.tokens_input, sums.failures) == (
            found.receipts,
            found.tokens_input,
            found.failures,
        )
    assert searches_with_results > 12


def test_the_api_does_not_read_a_row_that_clickhouse_adds_up(
    chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    SearchScene(4, now=NOW - timedelta(minutes=1), receipts=5, span=timedelta(hours=1))
    filled(chdb_store)
    counted: list[int] = []
    sums = aggregates._sums

    def counting(receipts: ReceiptQuerySet) -> object:
        counted.append(receipts.count())
        return sums(receipts)

    monkeypatch.setattr(aggregates, "_sums", counting)
    admin = UserFactory.create(role=Role.ADMIN)
    asked = ReceiptFilter(QueryDict(), queryset=Receipt.objects.visible_to(admin))
    assert asked.is_valid()
    assert aggregates_of(asked, admin, at=NOW).count == 5
    assert counted == [0]
    chdb_store.execute("TRUNCATE TABLE receipt_search_origin")
    assert aggregates_of(asked, admin, at=NOW).count == 5
    assert counted == [0, 5]


def test_prefixes_of_any_length_that_many_ids_share(
    chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ClickHouse compares the start of an id as a number, and of longer ones the rest."""
    monkeypatch.setattr(conditions, "MOST_LOOKED_UP", 0)
    node = NodeFactory.create()
    ids = [
        "a",
        "ab",
        "ab~",
        "abcdefg",
        "abcdefgh",
        "abcdefgh-1",
        "abcdefgh-2",
        "abcdefgi",
        "abd",
        "b",
        "~~~~~~~~~",
    ]
    for number, request_id in enumerate(ids):
        ReceiptFactory(node=node, at=NOW - timedelta(minutes=number + 1), request_id=request_id)
    filled(chdb_store)
    admin = UserFactory.create(role=Role.ADMIN)
    operator = UserFactory.create(role=Role.OPERATOR, org=node.org)  # whose receipts are in the table by node
    prefixes = {each[:length] for each in ids for length in range(1, len(each) + 1)} | {
        "abcdefgh-3",
        "c",
        "€",
        "a€",
    }
    for prefix in sorted(prefixes):
        expected = sum(each.startswith(prefix) for each in ids)
        for reader in (admin, operator):
            assert totals({"request_id": prefix}, reader).receipts == expected, (prefix, reader.role)
