"""Writes the invented nodes' heartbeat minutes, hours, probes and days of reputation to PostgreSQL."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import orjson

from jatevo.local.history.copying import copy_lines, copy_rows, moment
from jatevo.local.history.fleet import DAY, HOUR, MINUTE, WHOLE_HOUR, InventedFleet, InventedNode
from jatevo.local.history.registry import heard_at
from nodes.reputation.days import evidence_of
from nodes.reputation.formula import (
    OUTAGE_TENTHS,
    QUARANTINE_TENTHS,
    WINDOW_DAYS,
    EvidenceDay,
    Observation,
    ObservationKind,
    day_scores,
)
from nodes.rules.lifecycle import Reason, Status
from nodes.rules.probes import ProbeKind

BEAT_MINUTES = 70
PROBES_PER_NODE = 10
LATENCY_PROBES_PER_HOUR, HEALTH_PROBES_PER_HOUR, AUDITS_PER_HOUR = 12, 60, 1
_HOUR_COLUMNS = (
    "node_id", "hour", "heard", "health_passed", "health_failed", "audits_passed", "audits_failed", "latency_passed",
    "latency_slow",
)  # fmt: skip


def slow_probes_per_hour(member: InventedNode) -> int:
    """How many latency probes of an hour are slow: 1 to 3 for three nodes in sixteen, 0 for the others."""
    return max(0, member.digest("slow")[0] % 16 - 12)


def write_beats(fleet: InventedFleet, *, now: int) -> None:
    """Writes the last minutes' heartbeats of the nodes that are heard."""
    end = now - now % MINUTE
    minutes = [moment(end - back * MINUTE) for back in range(1, BEAT_MINUTES)]
    lines = [f"\t{minute:%F %T}+00\t6\n" for minute in minutes]
    heard = (member for member in fleet.members if member.status in (Status.ACTIVE, Status.QUARANTINE))
    blocks = ("".join([member.node_id + line for line in lines]) for member in heard)
    copy_lines("nodes_heartbeatminute", ("node_id", "minute", "beats"), blocks)


def write_hours(fleet: InventedFleet, *, days: int, now: int) -> None:
    """Writes the hours of each node in the last `days` days, but at most the window of reputations."""
    first = now - now % DAY - (min(days, WINDOW_DAYS) - 1) * DAY
    times = [(hour, f"{moment(hour):%F %T}+00") for hour in range(first, now, HOUR)]
    blocks = (_hours(member, times, first, now) for member in fleet.members if member.measured)
    copy_lines("nodes_nodehour", _HOUR_COLUMNS, blocks)


def _hours(member: InventedNode, times: list[tuple[int, str]], first: int, now: int) -> str:
    gaps = member.gaps(first, until=now)
    audit_failed = member.status_since if member.reason is Reason.AUDIT_FAILED else 0
    slow = slow_probes_per_hour(member)
    usual = f"\t{WHOLE_HOUR}\t{HEALTH_PROBES_PER_HOUR}\t0\t{AUDITS_PER_HOUR}\t0\t{LATENCY_PROBES_PER_HOUR - slow}\t{slow}\n"
    lines = []
    for hour, text in times:
        failed = hour <= audit_failed < hour + HOUR
        if hour not in gaps and not failed:
            lines.append(f"{member.node_id}\t{text}{usual}")
        elif (heard := WHOLE_HOUR & ~gaps.get(hour, 0)) != 0:
            up = heard.bit_count()
            latency = LATENCY_PROBES_PER_HOUR * up // 60
            probes = f"{up}\t0\t{1 - failed}\t{int(failed)}\t{max(0, latency - slow)}\t{min(slow, latency)}"
            lines.append(f"{member.node_id}\t{text}\t{heard}\t{probes}\n")
    return "".join(lines)


def write_days(fleet: InventedFleet, *, days: int, receipts_per_day: float, now: int) -> None:
    """Writes the days before today, scored by nodes/reputation/formula.py. The worker computes today."""
    scored: dict[tuple[Observation, ...], tuple[Any, ...]] = {}
    columns = (
        "node_id",
        "day",
        "reliability",
        "correctness",
        "efficiency",
        "policy",
        "evidence",
        "computed_at",
    )
    today = now - now % DAY

    def rows() -> Iterator[tuple[Any, ...]]:
        for member in fleet.members:
            if not member.measured:
                continue
            first = today - (min(days, WINDOW_DAYS) - 1) * DAY
            gaps = member.gaps(first, until=now)
            for start in range(first, today, DAY):
                observations = _observations(member, gaps, start, receipts_per_day)
                if not observations:
                    continue
                if observations not in scored:
                    scored[observations] = _scores(moment(start).date(), observations)
                yield member.node_id, moment(start).date(), *scored[observations], moment(start + DAY)

    copy_rows("nodes_reputationday", columns, rows())


def _scores(day: date, observations: tuple[Observation, ...]) -> tuple[Any, ...]:
    seen = EvidenceDay(day, observations)
    return *day_scores(seen).values(), orjson.dumps(evidence_of(seen)).decode()


def _observations(
    member: InventedNode, gaps: Mapping[int, int], start: int, receipts_per_day: float
) -> tuple[Observation, ...]:
    due = min(DAY, start + DAY - member.joined) // MINUTE
    if due <= 0:
        return ()
    silent = sum(gaps.get(hour, 0).bit_count() for hour in range(start, start + DAY, HOUR))
    missed = max(0, silent - (DAY // MINUTE - due))
    up = due - missed
    slow = slow_probes_per_hour(member) * up // 60
    quarantined = member.status is Status.QUARANTINE and start <= member.status_since < start + DAY
    audit_failed = int(quarantined and member.reason is Reason.AUDIT_FAILED)
    outages = sum(start <= silence.since < start + DAY for silence in member.silences)
    receipts = round(receipts_per_day * up / due)
    found = [
        Observation(ObservationKind.SILENCE, missed, due),
        Observation(ObservationKind.HEALTH, 0, up),
        Observation(ObservationKind.AUDIT, audit_failed, max(audit_failed, up // 60)),
        Observation(ObservationKind.RECEIPT, min(receipts, member.digest(str(start))[0] // 200), receipts),
        Observation(ObservationKind.LATENCY, min(slow, up // 5), up // 5),
        _conduct(quarantined, outages),
    ]
    return tuple(each for each in found if each.total)


def _conduct(quarantined: bool, outages: int) -> Observation:
    tenths = min(10, quarantined * QUARANTINE_TENTHS + outages * OUTAGE_TENTHS)
    said = ["quarantined once"] if quarantined else []
    if outages:
        times = "once" if outages == 1 else f"{outages} times"
        said.append(f"offline without announced maintenance {times}")
    return Observation(ObservationKind.CONDUCT, tenths, 10, note=", ".join(said).capitalize())


def write_probes(fleet: InventedFleet, validators: list[str], *, now: int) -> None:
    """Writes the last ten probes of each node that was ever probed."""
    columns = ("id", "node_id", "validator_id", "kind", "ok", "ts", "received_at", "p50_ms", "p95_ms", "p99_ms", "tps", "fault", "counts_as", "detail")  # fmt: skip
    rows = (row for member in fleet.members if member.measured for row in _probes(member, validators, now))
    copy_rows("nodes_probe", columns, rows)


def _probes(member: InventedNode, validators: list[str], now: int) -> Iterator[tuple[Any, ...]]:
    heard = heard_at(member, now)
    if heard is None:
        return
    for back in range(PROBES_PER_NODE, 0, -1):
        at = moment(int(heard) - back * MINUTE)
        kind = ProbeKind.AUDIT if back == 9 else ProbeKind.LATENCY if back in (2, 7) else ProbeKind.HEALTH
        figures: tuple[float | None, ...] = (None, None, None, None)
        if kind is ProbeKind.LATENCY:
            figures = (member.p50_ms, member.p50_ms * 2.1, member.p50_ms * 2.8, 9000 / member.p50_ms)
        number = UUID(bytes=member.digest(f"probe {at:%F %T}")[:16])
        validator = validators[member.number % len(validators)]
        yield (
            number,
            member.node_id,
            validator,
            kind.value,
            True,
            at,
            at + timedelta(seconds=1),
            *figures,
            "",
            kind.value,
            "",
        )
