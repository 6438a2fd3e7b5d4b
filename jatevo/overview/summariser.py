"""Sums up the network's hours into `RegionHour`, from which trends, heatmap and status history are drawn.

Latency, traffic and minutes come from ClickHouse, in full for each hour of which it got new facts
(`metrics.ChangedHour`); the nodes are counted as the hour goes by.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction

from jatevo.metrics import queries
from jatevo.metrics.models import ChangedHour
from jatevo.metrics.store import get_store
from jatevo.metrics.transport import Transport
from jatevo.overview import kpis
from jatevo.overview.models import RegionHour
from nodes.models import Node

NETWORK = ""
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

HOURS_PER_RUN = 6
# The running hour changes all the time. Summing it up costs a large fleet more than it is worth each time.
RUNNING_HOUR_EVERY = timedelta(seconds=60)
SMALL_FLEET = 500
# Who was silent for so long has left, and is missed no more.
LEFT_AFTER = timedelta(days=7)

_COMPUTED = (
    "p95_ms",
    "probes",
    "requests",
    "tokens_input",
    "tokens_output",
    "errors",
    "minutes_up",
    "minutes_expected",
    "computed_at",
)
_COUNTED = ("active_nodes", "models_cached")


@dataclass
class _Minutes:
    """Minutes in which a region's nodes were heard, of those in which they should have been."""

    up: int = 0
    expected: int = 0


def summarise(*, at: datetime, store: Transport | None = None, limit: int = HOURS_PER_RUN) -> list[datetime]:
    """Sums up at most `limit` hours that changed, newest first, and says which.

    Any number of processes may call it at once. Raises MetricsError when ClickHouse does not answer; what was
    not summed up stays noted.
    """
    store = store or get_store()
    changed = ChangedHour.objects.order_by("-hour")
    if not _is_due(_hour_of(at), at):
        changed = changed.exclude(hour=_hour_of(at))
    done = []
    for hour, noted_at in changed.values_list("hour", "noted_at")[:limit]:
        _settle(_summed_up(store, hour.astimezone(UTC), at), hour, noted_at)
        done.append(hour.astimezone(UTC))
    return done


def take_census(*, at: datetime) -> None:
    """Counts active nodes, per region and in all, and the models there, into the running hour's rows.

    Notes the hour as changed, so that one without any fact is summed up too, as zeros.
    """
    now = kpis.census(at=at)
    hour = _hour_of(at)
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


@transaction.atomic
def _settle(sums: list[RegionHour], hour: datetime, noted_at: datetime) -> None:
    """Stores an hour's sums, and deletes its note if that is still the one of before they were taken.

    A later note stays, because its facts may have come too late for the sums. If there is none any more, somebody
    else has stored later sums, and these are dropped.
    """
    now = ChangedHour.objects.select_for_update().filter(hour=hour).first()
    if now is None:
        return
    _store(sums, _COMPUTED)
    if now.noted_at == noted_at:
        now.delete()


def _summed_up(store: Transport, hour: datetime, at: datetime) -> list[RegionHour]:
    """The hour of the network and of each region with nodes, probes or receipts, in the order of regions."""
    end = hour + HOUR
    latencies = {found.region: found for found in queries.latency_by_hour(store, hour, end)}
    traffic = {found.region: found for found in queries.traffic_by_hour(store, hour, end)}
    minutes = _minutes_by_region(queries.minutes_up_by_node(store, hour, end), hour, at)
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
            computed_at=at,
        )
        served = traffic.values() if region == NETWORK else [traffic[region]] if region in traffic else []
        _add_traffic(row, served)
        rows.append(row)
    return rows


def _add_traffic(row: RegionHour, served: Iterable[queries.HourTraffic]) -> None:
    served = list(served)
    row.requests = sum(hour.requests for hour in served)
    row.tokens_input = sum(hour.tokens_input for hour in served)
    row.tokens_output = sum(hour.tokens_output for hour in served)
    row.errors = sum(hour.errors for hour in served)


def _minutes_by_region(minutes_up: dict[str, int], hour: datetime, at: datetime) -> dict[str, _Minutes]:
    """The hour's minutes of the nodes that belonged to the network in it, by region and for the network.

    Expected are those since the node was made; of the running hour, those that are over and whose heartbeats
    have come in. A node that was never heard, or that was silent for LEFT_AFTER before the hour, has none.
    """
    end = min(hour + HOUR, at - queries.SETTLED_AFTER)
    known = Node.objects.filter(created_at__lt=hour + HOUR, last_heartbeat_at__gte=hour - LEFT_AFTER)
    regions: dict[str, _Minutes] = defaultdict(_Minutes)
    for node_id, region, created_at in known.values_list("id", "region", "created_at").iterator():
        expected = max(0, math.ceil((end - max(hour, created_at)) / MINUTE))
        up = minutes_up.get(node_id, 0)
        for name in (region, NETWORK):
            regions[name].up += up
            regions[name].expected += max(expected, up)
    return regions


def _is_due(running_hour: datetime, at: datetime) -> bool:
    """Whether the running hour may be summed up again."""
    last = (
        RegionHour.objects.filter(hour=running_hour, region=NETWORK)
        .values_list("computed_at", flat=True)
        .first()
    )
    return last is None or at - last >= RUNNING_HOUR_EVERY or Node.objects.count() <= SMALL_FLEET


def _store(rows: list[RegionHour], fields: tuple[str, ...]) -> None:
    RegionHour.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["hour", "region"], update_fields=fields
    )


def _hour_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
