"""The texts of a node's page: reasons, the strip of heartbeats, an agent's figures."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from nodes.detail.heartbeat_strip import HEIGHT, MINUTES, MinuteLevel, heartbeat_strip
from nodes.detail.metrics_tab import signals_of, spell_duration
from nodes.rules.explanations import REASON_LABELS, Maintenance, explain, reason_label
from nodes.rules.heartbeat_regularity import regularity
from nodes.rules.lifecycle import FRAUD, Phase, Reason

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FIVE_MINUTES = timedelta(minutes=5)
QUARANTINE_REASONS = [
    Reason.PROBES_FAILED,
    Reason.AUDIT_FAILED,
    Reason.HEARTBEATS_MISSED,
    Reason.REPUTATION_LOW,
    Reason.SLO_BREACHED,
    Reason.RECEIPT_FORGED,
    Reason.FRAUD_SUSPECTED,
    Reason.RELATED_TO_FRAUD,
    Reason.ADMIN,
]


def test_every_reason_of_the_lifecycle_has_words() -> None:
    assert set(REASON_LABELS) == set(Reason)


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_says_what_and_what_next(phase: Phase) -> None:
    told = explain(phase, Reason.ADMIN, offline_after=FIVE_MINUTES)
    assert told.what
    assert told.next


def test_each_quarantine_reason_has_its_own_text() -> None:
    told = {
        explain(Phase.QUARANTINE, reason, offline_after=FIVE_MINUTES).what for reason in QUARANTINE_REASONS
    }
    assert len(told) == len(QUARANTINE_REASONS)


@pytest.mark.parametrize("reason", list(FRAUD.values()))
def test_fraud_is_not_ended_by_audits(reason: Reason) -> None:
    fraud = explain(Phase.QUARANTINE, reason, fraud=True, offline_after=FIVE_MINUTES)
    assert "Audits do not end" in fraud.next
    assert "so far" not in fraud.next


def test_confirmed_fraud_is_said_to_last() -> None:
    told = explain(
        Phase.QUARANTINE,
        Reason.RECEIPT_FORGED,
        fraud=True,
        fraud_confirmed=True,
        offline_after=FIVE_MINUTES,
    )
    assert "confirmed" in told.what
    assert told.next == "This quarantine is permanent."


def test_other_quarantines_say_how_far_their_audits_are() -> None:
    other = explain(Phase.QUARANTINE, Reason.AUDIT_FAILED, passed_audits=2, offline_after=FIVE_MINUTES)
    assert "3 passed audits in a row (2 so far)" in other.next


def test_an_unknown_reason_is_named() -> None:
    assert reason_label("slo_breach") == "Slo breach"
    told = explain(Phase.QUARANTINE, "slo_breach", offline_after=FIVE_MINUTES)
    assert told.what == "Quarantined: slo breach."


@pytest.mark.parametrize(
    ("deadline", "words"),
    [(FIVE_MINUTES, "5 minutes"), (MINUTE, "a minute"), (timedelta(seconds=8), "8 seconds")],
)
def test_offline_names_the_deadline_that_is_set(deadline: timedelta, words: str) -> None:
    assert explain(Phase.OFFLINE, "", offline_after=deadline).what == f"No heartbeat for {words}."


def test_maintenance_that_is_over_is_not_said_to_cost_nothing() -> None:
    def told(phase: Phase, maintenance: Maintenance | None) -> str:
        said = explain(phase, Reason.MAINTENANCE, maintenance=maintenance, offline_after=FIVE_MINUTES)
        return f"{said.what} {said.next}"

    lasting, over = Maintenance(NOON, under_way=True), Maintenance(NOON, under_way=False)
    assert "does not lower its reputation" in told(Phase.OFFLINE, lasting)
    ended = told(Phase.OFFLINE, over)
    assert "does not lower its reputation" not in ended
    assert "ended at 12:00 UTC on 4 Mar 2026. Missing heartbeats now lower its reputation." in ended
    assert "which ended. Missing heartbeats" in told(Phase.OFFLINE, None)
    assert "Validators do not probe the node" in told(Phase.PROBING, lasting)
    assert "Validators are probing" in told(Phase.PROBING, over)


def test_who_serves_on_probation_reads_why() -> None:
    told = explain(Phase.ACTIVE, Reason.AUDITS_PASSED, pardoned=Decimal("30.00"), offline_after=FIVE_MINUTES)
    assert (
        told.what == "In service, on probation. It was cleared at R 30.00, and a further fall quarantines it."
    )


def test_the_strip_is_an_hour_that_ends_now() -> None:
    at = NOON + timedelta(seconds=30)
    strip = heartbeat_strip({}, since=NOON - timedelta(days=1), at=at, interval_seconds=10)
    assert len(strip.bars) == MINUTES
    assert strip.bars[-1].minute == NOON
    assert strip.bars[0].minute == NOON - 59 * MINUTE
    assert (strip.received, strip.expected, strip.percent) == (0, 357, 0)  # 59 minutes and a half


def test_a_full_minute_is_good_a_thin_one_partial_an_empty_one_missed() -> None:
    beats = {NOON - 4 * MINUTE: 6, NOON - 3 * MINUTE: 5, NOON - 2 * MINUTE: 4}
    strip = heartbeat_strip(beats, since=NOON - timedelta(days=1), at=NOON, interval_seconds=10)
    levels = [bar.level for bar in strip.bars[-5:-1]]
    assert levels == [MinuteLevel.GOOD, MinuteLevel.GOOD, MinuteLevel.PARTIAL, MinuteLevel.MISSED]
    heights = [bar.height for bar in strip.bars[-5:-2]]
    assert heights == sorted(heights, reverse=True)
    assert strip.bars[-2].height == strip.height  # an empty frame, told from the others by its shape
    assert heights[0] == HEIGHT
    assert heights[-1] > 0


def test_an_excused_minute_differs_from_a_missed_one_in_shape_and_label() -> None:
    beats = {NOON - 4 * MINUTE: 6, NOON - 3 * MINUTE: 2}
    excused = dict.fromkeys([NOON - back * MINUTE for back in (4, 3, 2)], "maintenance")
    strip = heartbeat_strip(
        beats, since=NOON - timedelta(days=1), at=NOON, interval_seconds=10, excused=excused
    )
    bars = strip.bars[-5:-1]
    assert [bar.level for bar in bars] == [
        MinuteLevel.GOOD,
        MinuteLevel.EXCUSED,
        MinuteLevel.EXCUSED,
        MinuteLevel.MISSED,
    ]
    assert 0 < bars[1].y < bars[1].y + bars[1].height < HEIGHT
    assert bars[2].title == "11:58 UTC: 0 received, maintenance"
    assert strip.minutes_excused == 2


def test_no_heartbeat_was_due_in_minutes_in_which_no_node_could_be_heard() -> None:
    beats = {NOON - back * MINUTE: 6 for back in range(1, 60)}
    silent = [NOON - back * MINUTE for back in range(10, 20)]
    for minute in silent[1:]:
        del beats[minute]
    strip_of = partial(heartbeat_strip, beats, since=NOON - timedelta(days=1), at=NOON, interval_seconds=10)
    assert strip_of().percent == 84
    strip = strip_of(excused=dict.fromkeys(silent, "console outage"), unheard=bits_by_hour(silent))
    assert (strip.received, strip.expected, strip.percent) == (300, 300, 100)


def bits_by_hour(minutes: list[datetime]) -> dict[datetime, int]:
    found: dict[datetime, int] = {}
    for minute in minutes:
        hour = minute.replace(minute=0)
        found[hour] = found.get(hour, 0) | 1 << minute.minute
    return found


def test_a_burst_does_not_make_up_for_silence() -> None:
    """60 heartbeats in 9 s and then silence: a third of three minutes, as in uptime, and not 60 of 60."""
    since = NOON - 3 * MINUTE
    strip = heartbeat_strip({since: 60}, since=since, at=NOON, interval_seconds=10)
    assert (strip.received, strip.expected, strip.percent) == (6, 18, 33)
    found = regularity({}, {since: 60}, first_heard_at=since, at=NOON)
    assert (found.minutes_heard, found.minutes_expected) == (1, 3)
    at_once = heartbeat_strip({NOON: 60}, since=NOON, at=NOON + timedelta(seconds=9), interval_seconds=10)
    assert (at_once.received, at_once.expected) == (1, 1)


def test_a_faultless_node_has_missed_nothing_after_the_consoles_outage() -> None:
    """Minutes that the outage only touched have a few heartbeats, and no more were due."""
    beats = {NOON - back * MINUTE: 6 for back in range(1, 60)}
    for back in range(21, 30):
        del beats[NOON - back * MINUTE]
    beats[NOON - 30 * MINUTE], beats[NOON - 20 * MINUTE] = 2, 1
    touched = bits_by_hour([NOON - back * MINUTE for back in range(20, 31)])
    strip = heartbeat_strip(
        beats, since=NOON - timedelta(days=1), at=NOON, interval_seconds=10, unheard=touched
    )
    assert (strip.received, strip.expected, strip.percent) == (291, 291, 100)
    found = regularity({}, beats, first_heard_at=NOON - 59 * MINUTE, at=NOON, unheard=touched)
    assert found.share == 1


def test_a_node_that_was_never_heard_owes_nothing_yet() -> None:
    strip = heartbeat_strip({}, since=None, at=NOON, interval_seconds=10)
    assert (strip.received, strip.expected, strip.percent) == (0, 0, None)


def test_nothing_is_expected_before_the_node_was_there() -> None:
    since = NOON - 10 * MINUTE
    strip = heartbeat_strip({}, since=since, at=NOON, interval_seconds=10)
    assert strip.expected == 60
    assert {bar.level for bar in strip.bars if bar.minute < since} == {MinuteLevel.UNKNOWN}
    assert {bar.level for bar in strip.bars if since <= bar.minute < NOON} == {MinuteLevel.MISSED}


def test_a_minute_that_has_just_begun_is_not_called_missed() -> None:
    at = NOON + timedelta(seconds=12)
    strip = heartbeat_strip({}, since=NOON - timedelta(days=1), at=at, interval_seconds=10)
    assert strip.bars[-1].level is MinuteLevel.UNKNOWN


def test_a_node_that_is_too_eager_does_not_leave_the_drawing() -> None:
    strip = heartbeat_strip({NOON: 600}, since=NOON, at=NOON + MINUTE / 2, interval_seconds=10)
    assert strip.bars[-1].height == HEIGHT
    assert strip.percent == 100


def test_a_brand_new_node_has_no_percentage() -> None:
    assert heartbeat_strip({}, since=NOON, at=NOON, interval_seconds=10).percent is None


def test_known_figures_have_units_and_strange_ones_come_as_they_are() -> None:
    signals = signals_of({"disk": "ok", "gpu_util": 0.375, "uptime": 93784, "temp": None, "cpu_util": True})
    assert [(each.label, each.value) for each in signals] == [
        ("Uptime", "1 d 2 h"),
        ("GPU utilisation", "38 %"),
        ("Temperature", "unknown"),
        ("disk", "ok"),
        ("cpu_util", "True"),
    ]


@pytest.mark.parametrize("metrics", [{"uptime": 5}, {"uptime": 5, "gpu_util": None, "temp": None}])
def test_what_an_agent_cannot_know_is_unknown_and_not_zero(metrics: dict[str, Any]) -> None:
    for known_only in (False, True):
        signals = signals_of(metrics, known_only=known_only)
        assert [(each.label, each.value) for each in signals] == [
            ("Uptime", "5 s"),
            ("GPU utilisation", "unknown"),
            ("Temperature", "unknown"),
        ]
    assert signals_of({}) == []


def test_an_agent_cannot_flood_the_page() -> None:
    signals = signals_of({f"{number}" * 100: "x" * 10_000 for number in range(64)})
    assert len(signals) <= 24
    assert all(len(each.label) <= 80 and len(each.value) <= 80 for each in signals)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (90_061, "1 d 1 h")]
)
def test_durations_take_two_units_at_most(seconds: float, words: str) -> None:
    assert spell_duration(seconds) == words
