"""Scenes of bad luck: honest nodes whose receipts look odd."""

from datetime import timedelta

from nodes.actions import clear, move, note_outage, quarantine
from nodes.models import SweeperClock
from nodes.rules.lifecycle import Event
from tests.earnings.stage import NOW, Stage, rotate


def console_outage(stage: Stage) -> None:
    """The console is down for five hours. The receipts come at once, before the sweeper has noted the outage."""
    SweeperClock.objects.create(pk=1, last_run_at=stage.now, counting_from=stage.now)
    stage.node("honest")
    stage.later(hours=5)
    stage.receipt("honest", ago=4 * 3600)
    stage.accrue()
    note_outage(starts_at=NOW, ends_at=stage.now, at=stage.now)
    SweeperClock.objects.update(last_run_at=stage.now)


def own_silence(stage: Stage) -> None:
    """The node's line is down for hours. What it did until it was noticed comes late."""
    stage.node("honest")
    stage.later(minutes=5)
    stage.happen("honest", Event.SILENT, evidence={"last_heartbeat_at": NOW.isoformat()})
    stage.later(hours=1)
    stage.dispatch("honest", "during-dispatched", ago=0)
    stage.later(hours=8)
    stage.happen("honest", Event.HEARTBEAT)
    stage.receipt("honest", "before", ago=9 * 3600 + 290)
    stage.receipt("honest", "during-dispatched", ago=8 * 3600 - 30)


def clock_290_seconds_ahead(stage: Stage) -> None:
    stage.dispatch("honest", ago=20)
    stage.receipt("honest", ago=-280)


def clock_290_seconds_behind(stage: Stage) -> None:
    stage.node("honest", since=stage.now - timedelta(seconds=30))
    stage.receipt("honest", ago=300)


def rotation_with_a_lost_answer(stage: Stage) -> None:
    """The console has the new key, and the agent does not know: it goes on with the old one for minutes."""
    rotate(stage, "honest")
    stage.later(minutes=4)
    stage.receipt("honest", "minutes-later")
    stage.later(hours=1)
    stage.receipt("honest", "an-hour-later")


def hedged_retry(stage: Stage) -> None:
    """Two nodes of two owners serve one request. The gateway says whose answer it used."""
    for name in ("winner", "loser"):
        stage.dispatch(name, hedged=True)
        stage.receipt(name, hedged=True)
    stage.winner("winner")


def hedged_retry_within_an_org(stage: Stage) -> None:
    for name in ("first", "second"):
        stage.node(name, "honest")
        stage.dispatch(name, hedged=True)
        stage.receipt(name, hedged=True)


def winner_that_handed_in_nothing(stage: Stage) -> None:
    stage.dispatch("winner", hedged=True)
    stage.dispatch("other", hedged=True)
    stage.receipt("other", hedged=True)
    stage.winner("winner")


def model_spelled_otherwise(stage: Stage) -> None:
    stage.dispatch("honest", model_id="LLAMA3.1-8B")
    stage.receipt("honest", model_id="llama3.1-8b:latest")


def model_no_longer_offered(stage: Stage) -> None:
    node = stage.node("honest")
    node.offers.update(offered_until=stage.now - timedelta(hours=23))
    stage.receipt("honest", "within-a-day", ago=20)
    stage.accrue()
    node.offers.update(offered_until=stage.now - timedelta(hours=25))
    stage.receipt("honest", "after-a-day", ago=20)


def moved_to_another_org(stage: Stage) -> None:
    stage.receipt("honest", "before")
    move(node=stage.node("honest"), org=stage.org("buyer"), by=stage.admin, at=stage.now)
    stage.receipt("honest", "after")


def quarantined_by_mistake(stage: Stage) -> None:
    node = stage.node("honest")
    quarantine(node=node, by=stage.admin, reason="A mistake.", at=stage.now)
    stage.receipt("honest", "under-way", ago=-240)
    stage.later(minutes=20)
    stage.receipt("honest", "during")
    stage.later(minutes=10)
    clear(node=node, by=stage.admin, reason="It was a mistake.", at=stage.now)
    stage.happen("honest", Event.HEARTBEAT)
    stage.happen("honest", Event.PROBE_PASSED)
    stage.later(minutes=1)
    stage.receipt("honest", "afterwards")


def handed_in_twice(stage: Stage) -> None:
    said = stage.receipt("honest")
    assert not said["duplicate"]
    assert stage.receipt("honest", status=200)["duplicate"]


def cancelled_by_the_client(stage: Stage) -> None:
    stage.receipt("honest", outcome="cancelled")


def clocks_go_back(stage: Stage) -> None:
    """25 October 2026, 02:30 local time, twice. Receipts bear UTC, so these are two hours and overlap nowhere."""
    stage.node("honest", concurrency=1)
    stage.receipt("honest", "summer-time", ago=7200, seconds=3600)
    stage.later(hours=1)
    stage.receipt("honest", "winter-time", ago=7200, seconds=3600)


def late_without_a_reason(stage: Stage) -> None:
    stage.receipt("honest", "a-quarter-of-an-hour", ago=900)
    stage.receipt("honest", "a-second-more", ago=901)
    stage.dispatch("honest", "a-day-dispatched", ago=86_430)
    stage.receipt("honest", "a-day-dispatched", ago=86_400)


def dispatch_arrives_days_later(stage: Stage) -> None:
    stage.receipt("honest")
    stage.accrue()
    assert stage.verdict("honest") == "held: unconfirmed"
    stage.later(days=6)
    stage.dispatch("honest", ago=6 * 86_400 + 30)
