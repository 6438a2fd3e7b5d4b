"""Summarises the network's hours into `RegionHour`, for trends, heatmap and status history.

Latency, traffic and minutes are computed from ClickHouse for each hour with new facts
(`metrics.ChangedHour`). Nodes are counted during the hour. An hour stays noted until it is settled, that is
until all of its heartbeats must have arrived, so that minutes without any heartbeat count as well.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from django.db import InterfaceError, OperationalError, transaction

from jatevo.metrics import queries
from jatevo.metrics.bad_rows import store_around
from jatevo.metrics.completeness import complete_until
from jatevo.metrics.minutes import HOUR, expected_minutes, floor_hour, hours_of_windows, minutes_of_hour
from jatevo.metrics.models import ChangedHour
from jatevo.metrics.store import get_store
from jatevo.metrics.transport import MetricsUnavailable, Transport
from jatevo.overview import kpis
from jatevo.overview.models import RegionHour
from nodes.models import Exemption, ExemptionKind, Node

NETWORK = ""

HOURS_PER_RUN = 6
# Traffic is summed up in each run. For an hour that is not settled, latency and minutes are too expensive for
# that.
MEASURED_EVERY = timedelta(seconds=60)
SMALL_FLEET = 500
# A node silent for this long has left, and its minutes are no longer expected.
LEFT_AFTER = timedelta(days=7)

_TRAFFIC = ("requests", "tokens_input", "tokens_output", "errors", "computed_at")
_COMPUTED = (*_TRAFFIC, "p95_ms", "probes", "minutes_up", "minutes_expected", "measured_at")
_COUNTED = ("active_nodes", "models_cached")

log = structlog.get_logger(__name__)


@dataclass
class _Minutes:
    """Minutes in which a region's nodes were heard, of those in which they should have been."""

    up: int = 0
    expected: int = 0


def summarise(*, at: datetime, store: Transport | None = None, limit: int = HOURS_PER_RUN) -> list[datetime]:
    """Summarises at most `limit` hours that changed. Returns which.

    An hour that fails is logged, and the others continue. Any number of processes may call it at once. Raises
    MetricsUnavailable if ClickHouse does not answer. Hours that were not summarised stay noted.
    """
    store = store or get_store()
    until = complete_until(at=at)
    done: list[datetime] = []
    for hour, noted_at in _noted(at):
        if len(done) == limit:
            break
        try:
            _sum_up(store, hour, noted_at, until)
        except (MetricsUnavailable, OperationalError, InterfaceError):
            raise  # a store does not answer, so the others would fail too
        except Exception:
            log.exception("an hour cannot be summed up", hour=hour.isoformat())
        else:
            done.append(hour)
    return done


def _sum_up(store: Transport, hour: datetime, noted_at: datetime, until: datetime) -> None:
    settled = until >= hour + HOUR + queries.SETTLED_AFTER
    if settled or _is_due(hour, until):
        _store_sums(_summed_up(store, hour, until), hour, noted_at, settled=settled)
    else:
        _store(_traffic_of(store, hour, until), _TRAFFIC)


def take_census(*, at: datetime) -> None:
    """Stores the numbers of active nodes, by region and in total, and of models in the current hour's rows.

    Notes the hour as changed, so that an hour without any fact is summarised too, as zeros.
    """
    now = kpis.census(at=at)
    hour = floor_hour(at)
    rows = [
        RegionHour(hour=hour, region=region, active_nodes=nodes)
        for region, nodes in sorted(now.active_by_region.items())
    ]
    active = sum(now.active_by_region.values())
    rows.insert(
        0, RegionHour(hour=hour, region=NETWORK, active_nodes=active, models_cached=now.models_cached)
    )
    _store(rows, _COUNTED)
    ChangedHour.objects.bulk_create([ChangedHour(hour=hour)], ignore_conflicts=True)


def _noted(at: datetime) -> list[tuple[datetime, datetime]]:
    """The noted hours with the times of their notes: the running one, then those not summed up for longest.

    Notes get new times, so that these do not tell who waits.
    """
    noted = [
        (hour.astimezone(UTC), noted_at)
        for hour, noted_at in ChangedHour.objects.values_list("hour", "noted_at")
    ]
    sums = RegionHour.objects.filter(region=NETWORK, hour__in=[hour for hour, _ in noted])
    computed = {
        hour.astimezone(UTC): computed_at
        for hour, computed_at in sums.values_list("hour", "computed_at")
        if computed_at is not None
    }
    never = datetime.min.replace(tzinfo=UTC)

    def urgency(each: tuple[datetime, datetime]) -> tuple[bool, datetime, timedelta]:
        return each[0] != floor_hour(at), computed.get(each[0], never), at - each[0]

    return sorted(noted, key=urgency)


@transaction.atomic
def _store_sums(sums: list[RegionHour], hour: datetime, noted_at: datetime, *, settled: bool) -> None:
    """Stores an hour's sums; if it is settled, deletes its note, provided it is the one of before they were
    taken.

    A later note stays, because its facts may have come too late for the sums. If there is none any more,
    somebody else has stored later sums, and these are dropped.
    """
    now = ChangedHour.objects.select_for_update().filter(hour=hour).first()
    if now is None:
        return
    _store(sums, _COMPUTED)
    if settled and now.noted_at == noted_at:
        now.delete()


def _summed_up(store: Transport, hour: datetime, until: datetime) -> list[RegionHour]:
    """The hour of the network and of each region with nodes, probes or receipts, in the order of regions.

    As far as it was over at `until`, up to which all facts are in.
    """
    end = hour + HOUR
    latencies = {found.region: found for found in queries.latency_by_hour(store, hour, end)}
    traffic = {found.region: found for found in queries.traffic_by_hour(store, hour, end)}
    minutes = _minutes_by_region(queries.minutes_up_in_hour(store, hour), hour, until)
    rows = []
    for region in sorted({NETWORK, *latencies, *traffic, *minutes}):
        latency = latencies.get(region)
        heard = minutes.get(region, _Minutes())
        row = RegionHour(
            hour=hour,
            region=region,
            p95_ms=latency.p95_ms if latency else None,
            probes=latency.probes if latency else 0,
            minutes_up=heard.up,
            minutes_expected=heard.expected,
            computed_at=until,
            measured_at=until,
        )
        served = traffic.values() if region == NETWORK else [traffic[region]] if region in traffic else []
        _add_traffic(row, served)
        rows.append(row)
    return rows


def _traffic_of(store: Transport, hour: datetime, until: datetime) -> list[RegionHour]:
    """The hour's traffic alone, of the network and of each region that has some."""
    traffic = {found.region: found for found in queries.traffic_by_hour(store, hour, hour + HOUR)}
    rows = []
    for region in sorted({NETWORK, *traffic}):
        row = RegionHour(hour=hour, region=region, computed_at=until)
        _add_traffic(row, traffic.values() if region == NETWORK else [traffic[region]])
        rows.append(row)
    return rows


def _is_due(hour: datetime, until: datetime) -> bool:
    """Whether an hour that is not settled may have its latency and minutes summed up again."""
    network = RegionHour.objects.filter(hour=hour, region=NETWORK)
    last = network.values_list("measured_at", flat=True).first()
    return last is None or until - last >= MEASURED_EVERY or Node.objects.count() <= SMALL_FLEET


def _add_traffic(row: RegionHour, served: Iterable[queries.HourTraffic]) -> None:
    served = list(served)
    row.requests = sum(hour.requests for hour in served)
    row.tokens_input = sum(hour.tokens_input for hour in served)
    row.tokens_output = sum(hour.tokens_output for hour in served)
    row.errors = sum(hour.errors for hour in served)


def _minutes_by_region(heard: dict[str, int], hour: datetime, until: datetime) -> dict[str, _Minutes]:
    """The hour's minutes of the nodes that belonged to the network in it, by region and for the network.

    `heard` has each node's minutes as bits. Expected are those from the minute in which it was first heard,
    as far as its heartbeats have come in (`minutes.expected_minutes`). A node that was never heard, or that
    was silent for LEFT_AFTER before the hour, has none.
    """
    settled = min(hour + HOUR, until - queries.SETTLED_AFTER)
    unheard = hours_of_windows(_console_outages(hour), hour, hour + HOUR).get(hour, 0)
    known = Node.objects.filter(first_heard_at__lt=hour + HOUR, last_heartbeat_at__gte=hour - LEFT_AFTER)
    regions: dict[str, _Minutes] = defaultdict(_Minutes)
    for node_id, region, first_heard_at in known.values_list("id", "region", "first_heard_at").iterator():
        due = minutes_of_hour(hour, max(hour, first_heard_at or hour), settled)
        up = heard.get(node_id, 0)
        expected = expected_minutes(due, heard=up, unheard=unheard)
        for name in (region, NETWORK):
            regions[name].up += up.bit_count()
            regions[name].expected += expected.bit_count()
    return regions


def _console_outages(hour: datetime) -> Iterator[tuple[datetime, datetime]]:
    outages = Exemption.objects.filter(kind=ExemptionKind.OUTAGE).overlapping(hour, hour + HOUR)
    for starts_at, ends_at in outages.values_list("starts_at", "ends_at"):
        yield starts_at, ends_at or hour + HOUR


def _store(rows: list[RegionHour], fields: tuple[str, ...]) -> None:
    def upsert(some: Sequence[RegionHour]) -> None:
        RegionHour.objects.bulk_create(
            some, update_conflicts=True, unique_fields=["hour", "region"], update_fields=fields
        )

    for row, error in store_around(rows, upsert):
        log.error("a region's hour cannot be stored", hour=str(row.hour), region=row.region, error=str(error))
