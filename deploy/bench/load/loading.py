"""The steps of the load: PostgreSQL in one transaction, then ClickHouse, then what the worker derives."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Max

from bench.load import network
from bench.load.fleet import invent
from bench.load.indexes import built_afterwards
from bench.load.signed import SignedDays
from jatevo.accounts.models import Org
from jatevo.local.history import hours, observations, receipts, registry
from jatevo.local.history.copying import moment, unchecked_references
from jatevo.local.history.fleet import DAY, HOUR, InventedFleet, dice
from jatevo.local.history.measurements import Measured, Measurements, cells_of
from jatevo.local.seed import ORG_NAME, Login, seed_users
from jatevo.metrics.facts import ReceiptFact
from jatevo.metrics.models import ChangedHour
from jatevo.metrics.store import get_store, patient_store
from jatevo.metrics.transport import Transport
from jatevo.overview.models import RegionHour
from jatevo.overview.status import DAYS as STATUS_DAYS
from jatevo.overview.summariser import summarise, take_census
from nodes.actions import recompute
from nodes.figures import refresh_standings
from nodes.models import Node, SweeperClock, Validator
from nodes.rules.lifecycle import Status
from receipts.models import Gateway
from receipts.partitions import ensure_partitions

GATEWAY, DISPATCHED_SHARE = "load-gateway", 0.8
VALIDATORS = ["load-validator-1", "load-validator-2"]
# The summariser itself sums up the last hours, as many as a day's trend needs. A formula gives earlier ones.
SUMMED_UP_HOURS = 25


@dataclass(frozen=True)
class Wish:
    """What to load.

    `now` is in unix seconds. Measurements continue for `ahead_hours` hours after the current one.
    """

    nodes: int
    days: int
    seed: int
    receipts_per_node_day: float
    ahead_hours: int
    now: int
    signed_days: int = (
        1  # receipts of these last days are in PostgreSQL with their bytes, earlier ones only in ClickHouse
    )

    @property
    def running_hour(self) -> int:
        return self.now - self.now % HOUR

    @property
    def first_hour(self) -> int:
        return self.running_hour - self.days * DAY

    @property
    def signed_from(self) -> int:
        return self.running_hour - self.signed_days * DAY

    @property
    def measured_until(self) -> int:
        return self.running_hour + (1 + self.ahead_hours) * HOUR if self.ahead_hours else self.now

    @property
    def last_window_ends(self) -> int:
        return self.running_hour + (1 + self.ahead_hours) * HOUR


class Loading:
    """A run of the load. `say` gets a line for each completed step."""

    def __init__(self, wish: Wish, *, say: Callable[[str], None]) -> None:
        self._wish = wish
        self._say = say

    def load(self, home: Path) -> list[Login]:
        """Loads everything into an installation without such nodes. Returns the logins of each role."""
        wish = self._wish
        with self._step("the fleet"):
            fleet = invent(nodes=wish.nodes, days=wish.days, seed=wish.seed, now=wish.now)
        for day in range(wish.signed_from - DAY, wish.now, 28 * DAY):
            ensure_partitions(at=moment(day))
        with transaction.atomic():
            with self._step("organisations and people"):
                logins = seed_users(home)
                orgs = self._orgs(fleet)
            with unchecked_references():
                facts = self._postgres(fleet, orgs)
            with self._step("network hours, incidents, views"):
                self._network(fleet, logins)
        with self._store() as store:
            self._clickhouse(store, fleet, [org.pk for org in orgs], facts)
        self._derive(SUMMED_UP_HOURS)
        with self._step("statistics of the tables"), connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        return logins

    def extend(self) -> None:
        """Adds measurements of the existing nodes, from where they end. Nothing else changes."""
        wish = self._wish
        nodes = Node.objects.exclude(status=Status.PENDING).select_related("standing").order_by("pk")
        known = [_measured(node) for node in nodes]
        gone = list(nodes.filter(status=Status.OFFLINE).values_list("pk", flat=True))
        with self._store() as store:
            ((minute, ended),) = store.execute(
                "SELECT toUInt32(max(ts)), (SELECT toUInt32(max(ts_end)) FROM receipt_facts) FROM node_uptime_minute"
            )
            first = max(minute - minute % HOUR, wish.first_hour)
            silent = [
                (pk, hour, (1 << 60) - 1) for pk in gone for hour in range(first, wish.last_window_ends, HOUR)
            ]
            with (
                self._step("further measurements"),
                Measurements(store, known, silent, seed=wish.seed) as found,
            ):
                self._measure(found, first, max(ended - ended % HOUR + HOUR, wish.first_hour))
        with self._step("heartbeats until now"):
            self._move_heartbeats()
        summed_up = RegionHour.objects.aggregate(last=Max("hour"))["last"]
        self._derive(
            max(0, wish.running_hour - int(summed_up.timestamp())) // HOUR + 1
            if summed_up
            else SUMMED_UP_HOURS
        )

    def _orgs(self, fleet: InventedFleet) -> list[Org]:
        """Creates the organisations. The first is that of the people who can sign in."""
        names = [f"Org {self._wish.seed}-{number:03d}" for number in range(1, fleet.orgs)]
        return [Org.objects.get(name=ORG_NAME), *Org.objects.bulk_create(Org(name=name) for name in names)]

    def _postgres(self, fleet: InventedFleet, orgs: list[Org]) -> list[ReceiptFact]:
        wish, per_day, now = self._wish, self._wish.receipts_per_node_day, self._wish.now
        for name in VALIDATORS:
            Validator.objects.get_or_create(pk=name, defaults={"last_seen_at": moment(now)})
        Gateway.objects.get_or_create(pk=GATEWAY, defaults={"last_seen_at": moment(now)})
        with self._step("nodes, attestations, keys, transitions"):
            registry.write_nodes(fleet, [org.pk for org in orgs], now=now)
        with self._step("minutes of heartbeats"):
            observations.write_beats(fleet, now=now)
        with self._step("hours of evidence"):
            observations.write_hours(fleet, days=wish.days, now=now)
        with self._step("days of reputation"):
            observations.write_days(fleet, days=wish.days, receipts_per_day=per_day, now=now)
        with self._step("last probes"):
            observations.write_probes(fleet, VALIDATORS, now=now)
        with self._step("signed receipts of the last day"):
            facts = receipts.write_receipts(
                fleet,
                [org.pk for org in orgs],
                first=wish.running_hour - DAY,
                until=now,
                per_node_day=per_day,
                draw=dice(wish.seed, "receipts"),
                gateway=GATEWAY,
                dispatched_share=DISPATCHED_SHARE,
            )
        SweeperClock.objects.update_or_create(
            pk=1, defaults={"last_run_at": moment(now), "counting_from": moment(now)}
        )
        return facts

    def _network(self, fleet: InventedFleet, logins: list[Login]) -> None:
        wish = self._wish
        by = next(login.user.email for login in logins if login.user.is_admin)
        # `_derive` sums up the last of these hours from measurements, which do not include counts of nodes
        hours.write_hours(
            fleet,
            first=wish.running_hour - wish.running_hour % DAY - (STATUS_DAYS - 1) * DAY,
            until=wish.running_hour,
            seed=wish.seed,
            traffic=self._traffic,
        )
        network.write_incidents(fleet, by=by, seed=wish.seed, now=wish.now)
        network.write_maintenance(fleet, by=by, now=wish.now)
        network.write_views([login.user for login in logins])

    def _traffic(self, region: str, hour: int, active: int) -> hours.ServedTraffic:
        requests = round(active * self._wish.receipts_per_node_day / 24 * hours.daily_curve(hour))
        return hours.ServedTraffic(requests, requests * 1500, requests * 450, requests // 100)

    def _clickhouse(
        self, store: Transport, fleet: InventedFleet, orgs: list[UUID], facts: list[ReceiptFact]
    ) -> None:
        wish = self._wish
        members = [member for member in fleet.members if member.measured]
        known = [
            Measured(member.node_id, member.region, member.models[0], member.p50_ms) for member in members
        ]
        gaps = [
            (member.node_id, hour, silent)
            for member in members
            for hour, silent in member.gaps(wish.first_hour, until=wish.measured_until).items()
        ]
        with Measurements(store, known, gaps, seed=wish.seed) as found:
            if wish.signed_days > 1:
                with (
                    self._step(f"signed receipts of {wish.signed_days - 1} earlier days"),
                    built_afterwards(),
                ):
                    self._earlier_receipts(found, orgs)
            with self._step("receipts"):
                found.copy_receipts(map(cells_of, facts))
                if wish.first_hour < wish.signed_from:
                    found.receipts(wish.first_hour, wish.signed_from, per_node_day=wish.receipts_per_node_day)
                found.batches(
                    min(wish.first_hour, wish.signed_from),
                    wish.running_hour + HOUR,
                    per_node_day=wish.receipts_per_node_day,
                )
            self._measure(found, wish.first_hour, wish.running_hour + HOUR)

    def _earlier_receipts(self, found: Measurements, orgs: list[UUID]) -> None:
        wish = self._wish
        signed = SignedDays(
            nodes=wish.nodes,
            days=wish.days,
            seed=wish.seed,
            now=wish.now,
            orgs=orgs,
            per_node_day=wish.receipts_per_node_day,
            gateway=GATEWAY,
            dispatched_share=DISPATCHED_SHARE,
        )
        for rows in signed.write(wish.signed_from, wish.running_hour - DAY):
            found.copy_receipts(rows)

    def _measure(self, found: Measurements, first: int, receipts_from: int) -> None:
        """Writes receipts from `receipts_from` on, and all other measurements from `first` on."""
        wish, end = self._wish, self._wish.last_window_ends
        if receipts_from < end:
            found.receipts(receipts_from, end, per_node_day=wish.receipts_per_node_day)
            found.batches(receipts_from, end, per_node_day=wish.receipts_per_node_day)
        with self._step("latencies"):
            found.latency(first, end)
        for start in range(first, end, 5 * DAY):
            with self._step(f"minutes of {moment(start):%-d %b} and on"):
                found.uptime(start, min(start + 5 * DAY, end))

    def _derive(self, hours: int) -> None:
        """Runs the worker's computations on the loaded data."""
        at = moment(self._wish.now)
        with self._step("reputations"):
            recompute(at=at)
        with self._step("standings"):
            refresh_standings(at=at)
        with self._step(f"{hours} hours summed up"):
            for back in range(hours):
                hour = moment(self._wish.running_hour - back * HOUR)
                ChangedHour.objects.get_or_create(hour=hour)
            take_census(at=at)
            summarise(at=at, limit=ChangedHour.objects.count())

    def _move_heartbeats(self) -> None:
        """Moves the last heartbeats of nodes that are heard forward to now, with the same intervals."""
        heard = Node.objects.exclude(status=Status.OFFLINE)
        last = heard.aggregate(last=Max("last_heartbeat_at"))["last"]
        away = moment(self._wish.now) - last
        heard.update(
            last_heartbeat_at=F("last_heartbeat_at") + away,
            last_heartbeat_ts=F("last_heartbeat_ts") + away.total_seconds(),
        )

    @contextmanager
    def _store(self) -> Iterator[Transport]:
        """A ClickHouse store without a short time-out."""
        store = patient_store()
        try:
            yield store
        finally:
            if store is not get_store():
                store.close()

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._say(f"  {name:<44}{time.monotonic() - begun:7.1f} s")


def _measured(node: Node) -> Measured:
    standing = getattr(node, "standing", None)
    typical_ms = standing.p50_ms if standing and standing.p50_ms else 250.0
    return Measured(node.pk, node.region, next(iter(node.models_offered), ""), typical_ms)
