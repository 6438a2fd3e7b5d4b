"""The network's figures, one definition each, for the Overview page and GET /v1/summary alike.

What PostgreSQL knows (nodes, models) and what ClickHouse knows (latency, requests) is taken together into
a snapshot, which Django's cache shares for FRESH_FOR. While ClickHouse does not answer, its part of the last
good snapshot stands in, marked stale; without one those figures are unknown.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.core.cache import cache
from django.db.models import Count, F, Func, TextField

from jatevo.metrics import queries
from jatevo.metrics.store import MetricsError, get_store
from jatevo.web.figures import Figure
from nodes.lifecycle import Status
from nodes.models import Node

P95_WINDOW = timedelta(hours=1)
REQUESTS_WINDOW = timedelta(hours=24)
# The page polls every 10 s: together the p95 card is never older than the 15 s that the PRD allows (A3).
FRESH_FOR = timedelta(seconds=5)
KEEP_SECONDS = 24 * 3600

# Below this many nodes a region's figure would speak of single operators.
SMALLEST_PUBLIC_REGION = 5
OTHER_REGIONS = "other"

UNREACHABLE = "The metrics store cannot be reached."
TOO_FEW_PROBES = "Too few probes in the last hour."

_CACHE_KEY = "overview:snapshot:1"  # the number goes up when the classes below change shape

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Region:
    """`nodes` counts the active ones. `p95_ms` is None where it is not known."""

    name: str
    p95_ms: float | None
    nodes: int


@dataclass(frozen=True)
class Census:
    """What PostgreSQL knows at `as_of`: all nodes, active ones by region, distinct models there."""

    as_of: datetime
    nodes: int
    active_by_region: dict[str, int]
    models_cached: int


@dataclass(frozen=True)
class Traffic:
    """What ClickHouse knows at `as_of`. `by_hour`: 23 full hours, then the past 60 minutes."""

    as_of: datetime
    p95_ms: float | None
    p95_by_region: dict[str, float | None]
    requests: int
    by_hour: list[int]


@dataclass(frozen=True)
class Snapshot:
    """`traffic` is None when nothing was ever known; with `metrics_down` it is the last good one."""

    census: Census
    traffic: Traffic | None
    metrics_down: bool

    @property
    def active_nodes(self) -> Figure:
        """Nodes whose status is active."""
        return Figure.of(sum(self.census.active_by_region.values()), as_of=self.census.as_of)

    @property
    def models_cached(self) -> Figure:
        """Distinct models that active nodes offer."""
        return Figure.of(self.census.models_cached, as_of=self.census.as_of)

    @property
    def p95_ms(self) -> Figure:
        """The 95th percentile over all probes of P95_WINDOW (`queries.p95_global`), in milliseconds."""
        return self._of_traffic(self.traffic.p95_ms if self.traffic else None, if_none=TOO_FEW_PROBES)

    @property
    def requests_24h(self) -> Figure:
        """Receipts of requests that ended within REQUESTS_WINDOW (`queries.requests_count`)."""
        return self._of_traffic(self.traffic.requests if self.traffic else None)

    @property
    def requests_by_hour(self) -> list[int]:
        """For a trend; empty when not known."""
        return self.traffic.by_hour if self.traffic else []

    @property
    def as_of(self) -> datetime:
        """The age of the oldest part."""
        return min(self.census.as_of, self.traffic.as_of) if self.traffic else self.census.as_of

    def regions(self, *, fold_small: bool) -> list[Region]:
        """The regions with active nodes, by name, with their p95.

        For those who may not see single operators, regions under SMALLEST_PUBLIC_REGION nodes are one line,
        `other`. Percentiles do not add up, so its p95 is known only when it is the whole network's.
        """
        p95 = self.traffic.p95_by_region if self.traffic else {}
        regions = [
            Region(name, p95.get(name), nodes) for name, nodes in sorted(self.census.active_by_region.items())
        ]
        if not fold_small:
            return regions
        shown = [region for region in regions if region.nodes >= SMALLEST_PUBLIC_REGION]
        folded = sum(region.nodes for region in regions) - sum(region.nodes for region in shown)
        if folded:
            whole = self.traffic.p95_ms if self.traffic and not shown else None
            shown.append(Region(OTHER_REGIONS, whole, folded))
        return shown

    def _of_traffic(self, value: float | None, *, if_none: str = UNREACHABLE) -> Figure:
        as_of = self.traffic.as_of if self.traffic else self.census.as_of
        figure = Figure.of(value, as_of=as_of, if_none=if_none)
        return figure.aged(UNREACHABLE) if self.metrics_down else figure


def snapshot(*, at: datetime) -> Snapshot:
    """The network's figures, at most FRESH_FOR old but for what is stale. Raises the database's errors."""
    kept: Snapshot | None = cache.get(_CACHE_KEY)
    if kept is not None and at - kept.census.as_of < FRESH_FOR:
        return kept
    fresh = Snapshot(_census(at), *_traffic(kept.traffic if kept else None, at))
    cache.set(_CACHE_KEY, fresh, timeout=KEEP_SECONDS)
    return fresh


def _census(at: datetime) -> Census:
    active = Node.objects.filter(status=Status.ACTIVE)
    by_region = active.values_list("region").annotate(Count("pk")).order_by("region")
    model = Func(F("models_offered"), function="unnest", output_field=TextField(), set_returning=True)
    return Census(
        as_of=at,
        nodes=Node.objects.count(),
        active_by_region=dict(by_region),
        models_cached=active.annotate(model=model).values("model").distinct().count(),
    )


def _traffic(last: Traffic | None, at: datetime) -> tuple[Traffic | None, bool]:
    """What ClickHouse says now and False, or the last that it said and True."""
    store = get_store()
    this_hour = at.replace(minute=0, second=0, microsecond=0)
    hour = timedelta(hours=1)
    try:
        regions = queries.p95_by_region(store, at - P95_WINDOW, at)
        full_hours = queries.requests_by_hour(store, this_hour - 23 * hour, this_hour)
        # The running hour is not over, and would end every trend with a fall.
        last_hour = queries.requests_count(store, at - hour, at)
        traffic = Traffic(
            as_of=at,
            p95_ms=_tenths(queries.p95_global(store, at - P95_WINDOW, at)),
            p95_by_region={region.region: _tenths(region.p95_ms) for region in regions},
            requests=queries.requests_count(store, at - REQUESTS_WINDOW, at),
            by_hour=[*(full.count for full in full_hours), last_hour],
        )
    except MetricsError as error:
        log.warning("metrics unavailable for the overview", error=str(error))
        return last, True
    return traffic, False


def _tenths(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
