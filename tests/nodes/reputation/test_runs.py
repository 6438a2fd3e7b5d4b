"""Runs of the reputation jobs: pauses lose nothing, silence counts, and every due node is judged."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from itertools import pairwise

import pytest
from django.db import connection
from procrastinate.contrib.django import app

from jatevo.accounts.models import Role
from jatevo.metrics import retention_policy
from nodes import tasks
from nodes.actions import Beat, declare, heartbeat, judge_pending, recompute, recompute_days
from nodes.actions import reputation as actions_reputation
from nodes.models import HeartbeatMinute, Node, NodeHour, PendingJudgement, ReputationClock, ReputationDay
from nodes.reputation.days import days_of
from nodes.reputation.formula import Observation, ObservationKind
from nodes.rules.lifecycle import Status
from nodes.sweeper import sweep
from tests.factories import NodeFactory, UserFactory

pytestmark = pytest.mark.django_db
MIDNIGHT = datetime(2026, 6, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ALL_HOUR = (1 << 60) - 1
KEPT_BY_NODES = ("nodes_nodehour", "nodes_reputationday", "nodes_heartbeatminute", "nodes_probe")


def stored(node: Node, day: date, kind: ObservationKind) -> Observation | None:
    found = [known for known in days_of(node.pk, today=day) if known.day == day]
    return next((each for known in found for each in known.observations if each.kind is kind), None)


def heard_at_minutes(node: Node, since: datetime, until: datetime) -> None:
    minutes = int((until - since) / MINUTE)
    HeartbeatMinute.objects.bulk_create(
        HeartbeatMinute(node=node, minute=since + MINUTE * number, beats=6) for number in range(minutes)
    )


def test_a_forgery_in_a_pause_of_the_job_is_judged_by_the_next_run() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    recompute(at=MIDNIGHT + 14 * HOUR)
    node.refused_receipts.create(
        reason="invalid_signature",
        request_id="r",
        raw=b"{}",
        sha256=b"1" * 32,
        public_key=b"2" * 32,
        received_at=MIDNIGHT + 20 * HOUR,
    )
    recompute(at=MIDNIGHT + DAY + 2 * HOUR + 5 * MINUTE)
    forged = stored(node, MIDNIGHT.date(), ObservationKind.FORGERY)
    assert forged is not None
    assert forged.failed == 1


def test_minutes_heard_in_a_pause_of_the_job_are_no_silence() -> None:
    node = NodeFactory.create(status=Status.ACTIVE, first_heard_at=MIDNIGHT)
    heard_at_minutes(node, MIDNIGHT, MIDNIGHT + 12 * HOUR)
    recompute(at=MIDNIGHT + 2 * HOUR)
    recompute(at=MIDNIGHT + 12 * HOUR)
    assert stored(node, MIDNIGHT.date(), ObservationKind.SILENCE) == Observation(
        ObservationKind.SILENCE, 0, 718
    )


def test_after_a_pause_every_day_since_is_judged() -> None:
    node = NodeFactory.create(status=Status.ACTIVE, first_heard_at=MIDNIGHT)
    heard_at_minutes(node, MIDNIGHT, MIDNIGHT + HOUR)
    recompute(at=MIDNIGHT + HOUR)
    recompute(at=MIDNIGHT + 3 * DAY + HOUR)
    silences = [
        stored(node, (MIDNIGHT + number * DAY).date(), ObservationKind.SILENCE) for number in range(3)
    ]
    assert [each and (each.failed, each.total) for each in silences] == [
        (1380, 1440),
        (1440, 1440),
        (1440, 1440),
    ]


def test_a_run_for_some_nodes_does_not_stand_for_all() -> None:
    node, other = NodeFactory.create(), NodeFactory.create()
    recompute(at=MIDNIGHT)
    recompute(at=MIDNIGHT + HOUR, node_ids=[node.pk])
    assert ReputationClock.objects.get().last_run_at == MIDNIGHT
    recompute(at=MIDNIGHT + HOUR)
    assert ReputationClock.objects.get().last_run_at == MIDNIGHT + HOUR
    recompute(at=MIDNIGHT)  # a job that was late
    assert ReputationClock.objects.get().last_run_at == MIDNIGHT + HOUR
    assert other.pk != node.pk


def test_a_run_that_fails_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    node = NodeFactory.create(first_heard_at=MIDNIGHT)
    recompute(at=MIDNIGHT + HOUR)
    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr("nodes.actions.reputation.observe", _fails)
        recompute(at=MIDNIGHT + 5 * HOUR)
    assert ReputationClock.objects.get().last_run_at == MIDNIGHT + HOUR
    recompute(at=MIDNIGHT + DAY + 6 * HOUR)
    assert stored(node, MIDNIGHT.date(), ObservationKind.SILENCE) == Observation(
        ObservationKind.SILENCE, 1440, 1440
    )


def _fails(*args: object, **kwargs: object) -> None:
    raise RuntimeError("no database")


def test_one_nodes_minutes_are_rolled_up_without_the_others() -> None:
    node, other = NodeFactory.create(), NodeFactory.create()
    for each in (node, other):
        heard_at_minutes(each, MIDNIGHT, MIDNIGHT + HOUR)
        Node.objects.filter(pk=each.pk).update(beat_minute=MIDNIGHT + HOUR, beats=3)
    recompute(at=MIDNIGHT + 2 * HOUR, node_ids=[node.pk])
    assert set(NodeHour.objects.values_list("node_id", flat=True)) == {node.pk}


def test_computing_on_demand_says_so_even_if_nothing_changed() -> None:
    node = NodeFactory.create(first_heard_at=MIDNIGHT)
    recompute(at=MIDNIGHT + HOUR)
    at = MIDNIGHT + HOUR + 2 * timedelta(seconds=1)
    recompute(at=at, node_ids=[node.pk])
    assert ReputationDay.objects.get(day=MIDNIGHT.date()).computed_at == at


def test_a_node_that_died_never_regains_its_reputation() -> None:
    """Forty days, with the node up for ten, and the retention policy applied every day."""
    node = NodeFactory.create(status=Status.OFFLINE, first_heard_at=MIDNIGHT)
    rules = [rule for rule in retention_policy.rules() if rule.name in KEPT_BY_NODES]
    scores: list[Decimal] = []
    for number in range(40):
        start = MIDNIGHT + number * DAY
        if number < 10:
            NodeHour.objects.bulk_create(
                NodeHour(
                    node=node, hour=start + HOUR * hour, heard=ALL_HOUR, health_passed=60, latency_passed=60
                )
                for hour in range(24)
            )
        recompute(at=start + DAY - MINUTE)
        for rule in rules:
            list(rule.drop(rule.before(start + DAY), False))
        node.refresh_from_db()
        assert node.reputation is not None
        scores.append(node.reputation)
    after = scores[9:]
    assert all(later <= earlier for earlier, later in pairwise(after))
    assert scores[9] > 85
    # reliability 0, correctness and efficiency unknown again, no breach of policy
    assert scores[-1] == Decimal("48.50")
    assert not NodeHour.objects.exists()
    assert days_of(node.pk, today=(MIDNIGHT + 39 * DAY).date())


def test_of_whom_nothing_is_known_any_more_r_is_unknown() -> None:
    node = NodeFactory.create(reputation="83.00")
    named = NodeFactory.create(reputation="83.00")
    recompute(at=MIDNIGHT, node_ids=[named.pk])
    named.refresh_from_db()
    node.refresh_from_db()
    assert (named.reputation, node.reputation) == (None, Decimal(83))
    recompute(at=MIDNIGHT)
    node.refresh_from_db()
    assert node.reputation is None


def test_the_first_heartbeat_of_all_is_remembered() -> None:
    node = NodeFactory.create()
    for number in range(3):
        at = MIDNIGHT + number * DAY
        heartbeat(node_id=node.pk, beat=Beat(ts=at.timestamp(), metrics={}), at=at)
    node.refresh_from_db()
    assert node.first_heard_at == MIDNIGHT


def test_nodes_from_before_are_expected_from_their_first_sign_of_life() -> None:
    """The migration fills in the history's first heartbeat, or the oldest hour or minute on record."""
    told, hours, minutes, beat, _ = (
        NodeFactory.create(id=name) for name in ("told", "hours", "minutes", "beat", "never")
    )
    for node, number in ((told, 3), (hours, 1)):
        NodeHour.objects.create(node=node, hour=MIDNIGHT + number * HOUR, heard=0)
        NodeHour.objects.create(node=node, hour=MIDNIGHT + number * HOUR + DAY, heard=0b1000)
    for number in (0, 5):
        told.transitions.create(
            at=MIDNIGHT - DAY + number * HOUR, from_status="registered", to_status="probing",
            reason="first_heartbeat", actor_kind="node", actor_id=told.pk,
        )  # fmt: skip
    heard_at_minutes(minutes, MIDNIGHT, MIDNIGHT + 2 * MINUTE)
    Node.objects.filter(pk=beat.pk).update(last_heartbeat_at=MIDNIGHT, created_at=MIDNIGHT - HOUR)
    migration = import_module("nodes.migrations.0007_first_heard")
    with connection.cursor() as cursor:
        cursor.execute(migration._FILL)
    found = dict(Node.objects.values_list("id", "first_heard_at"))
    assert found == {
        "told": MIDNIGHT - DAY,
        "hours": MIDNIGHT + HOUR + DAY + 3 * MINUTE,
        "minutes": MIDNIGHT,
        "beat": MIDNIGHT - HOUR,
        "never": None,
    }


def test_the_worker_computes_every_five_minutes() -> None:
    crons = {periodic.task.name: periodic.cron for periodic in app.periodic_registry.periodic_tasks.values()}
    assert crons["nodes.reputations"] == "*/5 * * * *"
    assert crons["nodes.sweep"] == "* * * * * */5"


def test_the_job_computes_all_reputations_and_judges_what_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    node = NodeFactory.create(first_heard_at=MIDNIGHT, region="us-east")
    admin = UserFactory.create(role=Role.ADMIN)
    at = MIDNIGHT + 3 * DAY + HOUR
    recompute_days(since=MIDNIGHT, until=at, at=at, node_ids=None)
    before = stored(node, MIDNIGHT.date(), ObservationKind.SILENCE)
    assert before is not None
    assert before.failed == 1440
    window = {"starts_at": MIDNIGHT, "ends_at": MIDNIGHT + 12 * HOUR}
    declare(reference="incident:1", region="", message="", by=admin, at=at, **window)
    # its own job is lost: the worker was killed
    monkeypatch.setattr("nodes.tasks.timezone.now", lambda: at)
    tasks.recompute_reputations(timestamp=0)
    after = stored(node, MIDNIGHT.date(), ObservationKind.SILENCE)
    assert after is not None
    assert (after.failed, after.exempt) == (720, 720)
    assert not PendingJudgement.objects.exists()


@pytest.mark.parametrize(("region", "judged"), [("", True), ("us-east", True), ("eu-west", False)])
def test_an_exemption_is_judged_for_its_region_or_all_nodes(region: str, judged: bool) -> None:
    node = NodeFactory.create(first_heard_at=MIDNIGHT, region="us-east")
    PendingJudgement.objects.create(region=region, since=MIDNIGHT, until=MIDNIGHT + HOUR)
    assert judge_pending(at=MIDNIGHT + DAY) == 1
    assert ReputationDay.objects.filter(node=node).exists() is judged


def test_a_judgement_that_fails_is_kept_for_the_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    NodeFactory.create(first_heard_at=MIDNIGHT)
    PendingJudgement.objects.create(region="", since=MIDNIGHT, until=MIDNIGHT + HOUR)
    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr("nodes.actions.reputation.observe", _fails)
        judge_pending(at=MIDNIGHT + DAY)
    assert judge_pending(at=MIDNIGHT + DAY) == 1
    assert judge_pending(at=MIDNIGHT + DAY) == 0


def test_evidence_alone_leads_to_quarantine() -> None:
    """From heartbeats and failed probes to R, and from R to quarantine."""
    node = NodeFactory.create(status=Status.ACTIVE, first_heard_at=MIDNIGHT - 4 * DAY)
    NodeHour.objects.bulk_create(
        NodeHour(
            node=node,
            hour=MIDNIGHT - HOUR * back,
            heard=(1 << 20) - 1,
            health_failed=60,
            audits_failed=1,
            latency_slow=60,
        )
        for back in range(1, 97)
    )
    recompute(at=MIDNIGHT + 5 * MINUTE)
    recompute_days(since=MIDNIGHT - 4 * DAY, until=MIDNIGHT, at=MIDNIGHT + 5 * MINUTE, node_ids=[node.pk])
    node.refresh_from_db()
    assert node.reputation is not None
    assert node.reputation < 40
    Node.objects.update(status_since=MIDNIGHT, last_heartbeat_at=MIDNIGHT + 5 * MINUTE)
    assert sweep(at=MIDNIGHT + 5 * MINUTE).quarantined == 1
    transition = node.transitions.get()
    assert (transition.reason, transition.evidence["reputation"]) == ("reputation_low", str(node.reputation))


def test_unreadable_evidence_does_not_delay_other_reputations() -> None:
    at = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
    bad, good = NodeFactory.create(reputation=Decimal(77)), NodeFactory.create()
    for node, said in ((bad, {"nonsense": 1}), (good, {"failed": 0, "total": 500})):
        ReputationDay.objects.create(node=node, day=at.date(), evidence={"health": said}, computed_at=at)
    Node.objects.update(first_heard_at=None)
    assert actions_reputation._score(at=at, node_ids=None) == 1
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.reputation, good.reputation is None) == (Decimal(77), False)
