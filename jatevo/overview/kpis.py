"""The network's figures, for the Overview page and GET /v1/summary. definitions.py has their definitions.

Figures of PostgreSQL (nodes, models) and of ClickHouse (latency, requests) form a snapshot that all processes
share. While ClickHouse does not answer, its last answer is used and marked stale; without one, its figures
are unknown. While facts are late, its figures are as of the moment up to which it has all facts, and stale
too.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.db.models import Count, Q

from jatevo.metrics import queries
from jatevo.metrics.completeness import complete_until
from jatevo.metrics.last_good import LastGood, last_good
from jatevo.metrics.store import MetricsUnavailable, get_store
from jatevo.overview.model_figures import ModelLine, Offers, model_lines, offers_of
from jatevo.web.figures import Figure
from jatevo.web.single_flight import SingleFlight
from nodes.models import Node
from nodes.rules.lifecycle import Status

P95_WINDOW = timedelta(minutes=15)
REQUESTS_WINDOW = timedelta(hours=24)
# A day of receipts by model is expensive to sum up and changes slowly.
MODELS_FRESH_FOR = timedelta(seconds=60)
# With the page's polling, figures must never be older than the 15 s that the PRD allows (A3).
FRESH_FOR = timedelta(seconds=5)
OLDEST = timedelta(seconds=15)
# Shipping takes a few seconds. From here on, facts are late.
LATE = timedelta(seconds=10)
KEEP_SECONDS = 24 * 3600

# With fewer active nodes, a region's figures could reveal those of single operators.
SMALLEST_PUBLIC_REGION = 5
OTHER_REGIONS = "other"  # the name of such regions together

UNREACHABLE = "The metrics store cannot be reached."
BEHIND = "The metrics store is behind: receipts and probes are delayed."
TOO_FEW_SAMPLES = "Too few samples in the last 15 minutes."


@dataclass(frozen=True)
class Region:
    """A region. `nodes` counts active nodes. `p95_ms` is None if unknown."""

    name: str
    p95_ms: float | None
    nodes: int


@dataclass(frozen=True)
class Census:
    """What PostgreSQL knows at `as_of`: all nodes, the active ones of each region, distinct models there,
    and who offers which.

    `active_by_region` has every region with nodes, with 0 where none is active.
    """

    as_of: datetime
    nodes: int
    active_by_region: dict[str, int]
    models_cached: int
    offers: Offers = field(default_factory=Offers)

    def told(self, region: str) -> str:
        """The region's name for readers who may not see single operators, which may be OTHER_REGIONS."""
        is_large = self.active_by_region.get(region, 0) >= SMALLEST_PUBLIC_REGION
        return region if is_large else OTHER_REGIONS

    @property
    def small_regions(self) -> frozenset[str]:
        """Regions with too few active nodes to be shown to everyone, and any region named OTHER_REGIONS."""
        return frozenset(
            region
            for region, nodes in self.active_by_region.items()
            if nodes and (nodes < SMALLEST_PUBLIC_REGION or region == OTHER_REGIONS)
        )


@dataclass(frozen=True)
class RecentTraffic:
    """Figures of ClickHouse at `as_of`. `p95_other_ms` is the p95 of the regions in `folded` together."""

    as_of: datetime
    p95_ms: float | None
    p95_by_region: dict[str, float | None]
    folded: frozenset[str]
    p95_other_ms: float | None
    requests: int


@dataclass(frozen=True)
class Snapshot:
    """The figures at `seen_at`.

    `traffic` is None if ClickHouse never answered, and old if there is `trouble`.
    """

    census: Census
    traffic: RecentTraffic | None
    seen_at: datetime
    trouble: str = ""
    served: LastGood[dict[str, queries.ModelTraffic]] | None = None

    @property
    def stale(self) -> bool:
        """Whether ClickHouse's figures are stale. They are not yet if the trouble has only just begun."""
        return bool(self.trouble) and (self.traffic is None or self.seen_at - self.traffic.as_of >= OLDEST)

    @property
    def active_nodes(self) -> Figure:
        """definitions.ACTIVE_NODES"""
        return Figure.of(sum(self.census.active_by_region.values()), as_of=self.census.as_of)

    @property
    def models_cached(self) -> Figure:
        """definitions.MODELS_CACHED"""
        return Figure.of(self.census.models_cached, as_of=self.census.as_of)

    @property
    def p95_ms(self) -> Figure:
        """definitions.P95_GLOBAL, in milliseconds."""
        return self._of_traffic(self.traffic.p95_ms if self.traffic else None, if_none=TOO_FEW_SAMPLES)

    @property
    def requests_24h(self) -> Figure:
        """definitions.REQUESTS_24H"""
        return self._of_traffic(self.traffic.requests if self.traffic else None)

    def models(self, *, fold_small: bool) -> list[ModelLine]:
        """definitions.MODELS: each model's nodes, and its requests and p95 of 24 hours."""
        return model_lines(
            self.census.offers, self.served.value if self.served else None, fold_small=fold_small
        )

    @property
    def as_of(self) -> datetime:
        """The as-of time of the oldest part."""
        return min(self.census.as_of, self.traffic.as_of) if self.traffic else self.census.as_of

    def regions(self, *, fold_small: bool) -> list[Region]:
        """definitions.P95_BY_REGION: the regions with active nodes, by name, with their p95.

        For those who may not see single operators, regions under SMALLEST_PUBLIC_REGION nodes are one line,
        OTHER_REGIONS, whose p95 is that of their probes together. Its own nodes may still be too few: then it
        is not known, unless no other region is shown and it is the network's.
        """
        p95 = self.traffic.p95_by_region if self.traffic else {}
        active = sorted((name, nodes) for name, nodes in self.census.active_by_region.items() if nodes)
        small = self.census.small_regions if fold_small else frozenset()
        shown = [Region(name, p95.get(name), nodes) for name, nodes in active if name not in small]
        if small:
            nodes = sum(nodes for name, nodes in active if name in small)
            enough = nodes >= SMALLEST_PUBLIC_REGION or not shown
            shown.append(Region(OTHER_REGIONS, self._p95_of(small) if enough else None, nodes))
        return shown

    def why_unknown(self, region: Region) -> str:
        """Why one of `regions` has no p95, in a few words; '' if it has one."""
        if region.p95_ms is not None:
            return ""
        if region.name == OTHER_REGIONS and region.nodes < SMALLEST_PUBLIC_REGION:
            return "too few nodes"
        if self.traffic is None:
            return "unknown"
        if region.name == OTHER_REGIONS and self.traffic.folded != self.census.small_regions:
            return "not known yet"
        return "too few samples"

    def _p95_of(self, small: frozenset[str]) -> float | None:
        """The p95 of the small regions, unless an older answer was about other regions."""
        return self.traffic.p95_other_ms if self.traffic and self.traffic.folded == small else None

    def _of_traffic(self, value: float | None, *, if_none: str = UNREACHABLE) -> Figure:
        as_of = self.traffic.as_of if self.traffic else self.census.as_of
        figure = Figure.of(value, as_of=as_of, if_none=if_none)
        return figure.aged(self.trouble) if self.stale else figure


# Increase the number in a key whenever the class changes.
_snapshots: SingleFlight[Snapshot] = SingleFlight(
    "overview:snapshot:4", fresh_for=FRESH_FOR, oldest=OLDEST, keep_seconds=KEEP_SECONDS
)


def snapshot(*, at: datetime) -> Snapshot:
    """The network's figures, at most OLDEST old unless stale. Raises the database's errors."""
    return replace(_snapshots.get(lambda: take(at=at), at=at), seen_at=at)


def take(*, at: datetime) -> Snapshot:
    """The present figures, without the cache."""
    now, until = census(at=at), complete_until(at=at)
    traffic, trouble = _traffic(now, until)

    def served() -> dict[str, queries.ModelTraffic]:
        if trouble == UNREACHABLE:
            raise MetricsUnavailable(trouble)  # it has just been asked
        return queries.traffic_by_model(get_store(), until - REQUESTS_WINDOW, until)

    models = last_good("overview:models:1", served, at=until, fresh_for=MODELS_FRESH_FOR)
    return Snapshot(now, traffic, seen_at=at, trouble=trouble, served=models)


def census(*, at: datetime) -> Census:
    """What PostgreSQL knows, in two queries."""
    active = Q(status=Status.ACTIVE)
    by_region = Node.objects.order_by("region").values_list("region")
    counts = list(by_region.annotate(all=Count("pk"), active=Count("pk", filter=active)))
    lists = Node.objects.filter(active).exclude(models_offered=[]).order_by().values_list("models_offered")
    offers = offers_of(lists.annotate(nodes=Count("pk")))
    return Census(
        as_of=at,
        nodes=sum(nodes for _, nodes, _ in counts),
        active_by_region={region: nodes for region, _, nodes in counts},
        models_cached=len(offers.models),
        offers=offers,
    )


def _traffic(now: Census, until: datetime) -> tuple[RecentTraffic | None, str]:
    """ClickHouse's answer or its last good one, and the trouble, if any."""
    said = last_good("overview:traffic:2", lambda: _ask(now, until), at=until)
    if said.stale:
        return said.value, UNREACHABLE
    return said.value, BEHIND if now.as_of - until >= LATE else ""


def _ask(now: Census, until: datetime) -> RecentTraffic:
    store = get_store()
    small = now.small_regions
    latency = queries.p95_of_network(store, until - P95_WINDOW, until, fold=small)
    return RecentTraffic(
        as_of=until,
        p95_ms=_tenths(latency.p95_ms),
        p95_by_region={region.region: _tenths(region.p95_ms) for region in latency.regions},
        folded=small,
        p95_other_ms=_tenths(latency.folded_p95_ms),
        requests=queries.requests_count(store, until - REQUESTS_WINDOW, until),
    )


def _tenths(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
