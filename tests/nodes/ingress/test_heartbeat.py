"""POST /v1/nodes/heartbeat through the front door."""

import time
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from jatevo.metrics.models import Outbox
from nodes.models import HeartbeatMinute, Node
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory
from tests.machines import SignedSender

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("both_adapters")]


@pytest.fixture
def node() -> Node:
    return NodeFactory.create()


def test_first_heartbeat_puts_the_node_before_the_validators(node: Node) -> None:
    answer = SignedSender.node(node).beat()
    assert answer.status_code == 200
    assert answer.json()["status"] == "pending"
    assert answer.json()["heartbeat_interval_s"] == 10
    assert abs(answer.json()["server_time"] - time.time()) < 5
    node.refresh_from_db()
    assert node.probing_since is not None
    assert node.last_metrics["gpu_util"] == 0.5
    (transition,) = node.transitions.all()
    assert (transition.from_status, transition.to_status) == ("registered", "probing")


def test_second_heartbeat_makes_no_second_transition(node: Node) -> None:
    machine = SignedSender.node(node)
    machine.beat()
    machine.beat()
    assert node.transitions.count() == 1
    node.refresh_from_db()
    assert node.beats >= 1


def test_heartbeat_writes_into_no_index_of_nodes() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    machine = SignedSender.node(node)
    machine.beat()

    def updates() -> tuple[int, int]:
        """All of this transaction, and those in place, which PostgreSQL does where no indexed column changes."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'nodes_node'"
            )
            every, in_place = cursor.fetchone()
        return every, in_place

    before = updates()
    for _ in range(3):
        assert machine.beat().status_code == 200
    assert updates() == (before[0] + 3, before[1] + 3)


def test_heartbeat_never_ends_a_quarantine() -> None:
    node = NodeFactory.create(status=Status.QUARANTINE)
    assert SignedSender.node(node).beat().json()["status"] == "quarantine"
    node.refresh_from_db()
    assert node.status == Status.QUARANTINE


def test_heartbeat_of_an_offline_node_sends_it_to_be_probed() -> None:
    node = NodeFactory.create(status=Status.OFFLINE)
    assert SignedSender.node(node).beat().json()["status"] == "pending"
    node.refresh_from_db()
    assert node.probing_since is not None


def test_heartbeat_that_is_not_later_is_refused_even_with_a_fresh_id(node: Node) -> None:
    machine = SignedSender.node(node)
    ts = time.time()
    assert machine.beat(ts=ts).status_code == 200
    for older in (ts, ts - 1):
        answer = machine.beat(ts=older)
        assert (answer.status_code, answer.json()["error"]["type"]) == (409, "replayed_request")


def test_liveness_goes_by_the_servers_clock(node: Node) -> None:
    SignedSender.node(node).beat(ts=time.time() - 250)
    node.refresh_from_db()
    assert node.last_heartbeat_at is not None
    assert timezone.now() - node.last_heartbeat_at < timedelta(seconds=5)


def test_same_webhook_id_again_is_a_replay(node: Node) -> None:
    machine = SignedSender.node(node)
    body = {"node_id": node.pk, "ts": time.time(), "metrics": {"uptime": 1, "gpu_util": 0}}
    assert machine.send("/v1/nodes/heartbeat", body, message_id="msg_once").status_code == 200
    later = body | {"ts": time.time() + 1}
    answer = machine.send("/v1/nodes/heartbeat", later, message_id="msg_once")
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "replayed_request")


@pytest.mark.parametrize("offset", [-301, 330])
def test_timestamp_off_by_more_than_300_s_tells_the_server_time(node: Node, offset: int) -> None:
    machine = SignedSender.node(node)
    body = {"node_id": node.pk, "ts": time.time(), "metrics": {"uptime": 1, "gpu_util": 0}}
    answer = machine.send("/v1/nodes/heartbeat", body, at=time.time() + offset)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "clock_skew")
    assert abs(answer.json()["error"]["server_time"] - time.time()) < 5


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"webhook-signature": "v1,AAAA"}, "invalid_token"),
        ({"webhook-signature": "v2,AAAA"}, "invalid_token"),
        ({"webhook-signature": "garbage \x7f"}, "invalid_token"),
        ({"webhook-id": "with.dot"}, "invalid_token"),
        ({"webhook-timestamp": "\uff11\uff12"}, "invalid_token"),
        ({"webhook-timestamp": "-1"}, "invalid_token"),
        ({"webhook-signature": ""}, "unauthenticated"),
        ({"X-Node-Id": ""}, "unauthenticated"),
        ({"X-Node-Id": "no-such-node"}, "invalid_token"),
        ({"X-Node-Id": "Bad Id"}, "invalid_token"),
    ],
)
def test_unauthenticated_heartbeat_changes_nothing(
    node: Node, overrides: dict[str, str], expected: str
) -> None:
    body = {"node_id": node.pk, "ts": time.time(), "metrics": {"uptime": 1, "gpu_util": 0}}
    answer = SignedSender.node(node).send("/v1/nodes/heartbeat", body, headers=overrides)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, expected)
    node.refresh_from_db()
    assert node.last_heartbeat_at is None
    assert node.transitions.count() == 0


def test_node_cannot_beat_for_another(node: Node) -> None:
    rival = NodeFactory.create()
    answer = SignedSender.node(rival).beat(node_id=node.pk)
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "node_mismatch")
    node.refresh_from_db()
    assert node.last_heartbeat_at is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ts": "now"}, "ts"),
        ({"ts": None}, "ts"),
        ({"ts": -1}, "ts"),
        ({"metrics": {"uptime": 1, "gpu_util": 2}}, "metrics.gpu_util"),
        ({"metrics": {"gpu_util": 0}}, "metrics.uptime"),
        ({"metrics": []}, "metrics"),
        ({"metrics": {"uptime": 1, "gpu_util": 0, "deep": {"er": 1}}}, "metrics.deep"),
        ({"metrics": {"uptime": True, "gpu_util": 0}}, "metrics.uptime"),
        ({"metrics": {"uptime": 1, "gpu_util": 0, "x": 1e300}}, "metrics.x"),
        ({"endpoint": "http://user:pass@host/"}, "endpoint"),
        ({"models": "llama"}, "models"),
        ({"models": [7]}, "models.0"),
        ({"models": ["m"] * 201}, "models"),
        ({"endpoint": "http://node.example/?token=x"}, "endpoint"),
        ({"endpoint": "http://node.example#f"}, "endpoint"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 1025}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"agent_version": 1}, "agent_version"),
        ({"attest": {"vram_gb": -1}}, "attest.vram_gb"),
        ({"attest": {"energy_proof_url": "javascript:1"}}, "attest.energy_proof_url"),
    ],
)
def test_wrong_field_is_named_and_nothing_kept(node: Node, change: dict[str, object], field: str) -> None:
    body = {"node_id": node.pk, "ts": time.time(), "metrics": {"uptime": 1, "gpu_util": 0}, **change}
    answer = SignedSender.node(node).send("/v1/nodes/heartbeat", body)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["type"] == "invalid_request"
    assert [problem["field"] for problem in error["details"]] == [field]
    node.refresh_from_db()
    assert node.last_heartbeat_at is None


def test_eleventh_heartbeat_in_a_second_is_throttled(node: Node, settings: Any) -> None:
    assert settings.RATE_LIMITS["node"] == "10/second"
    # a busy machine may need more than a second for so many
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "node": "10/hour"}
    machine = SignedSender.node(node)
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False):
        answers = [machine.beat(ts=time.time() + number / 100) for number in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
    assert int(answers[-1]["Retry-After"]) >= 1
    assert answers[-1].json()["error"]["type"] == "rate_limited"


def test_a_finished_minute_is_counted_and_sent_to_the_metrics_store(node: Node) -> None:
    machine = SignedSender.node(node)
    start = timezone.now().replace(second=0, microsecond=0)
    for second in (5, 15, 25, 65):
        with time_machine.travel(start + timedelta(seconds=second), tick=False):
            assert machine.beat().status_code == 200
    (minute,) = HeartbeatMinute.objects.all()
    assert (minute.minute, minute.beats) == (start, 3)
    (row,) = Outbox.objects.filter(kind="uptime")
    assert row.body == {"node_id": node.pk, "minute": int(start.timestamp()), "up": True, "beats": 3}


def test_heartbeat_updates_the_models_only_when_it_names_them(node: Node) -> None:
    machine = SignedSender.node(node)
    machine.beat(models=["a", "b", "a"])
    node.refresh_from_db()
    assert node.models_offered == ["a", "b"]
    machine.beat()
    node.refresh_from_db()
    assert node.models_offered == ["a", "b"]


def test_heartbeat_from_the_future_is_refused_and_does_not_lock_the_node_out(node: Node) -> None:
    machine = SignedSender.node(node)
    answer = machine.beat(ts=4_000_000_000)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "clock_skew")
    assert "server_time" in answer.json()["error"]
    assert machine.beat().status_code == 200


def test_heartbeat_may_name_a_new_endpoint(node: Node) -> None:
    machine = SignedSender.node(node)
    machine.beat(endpoint="http://203.0.113.9:11435")
    machine.beat()
    node.refresh_from_db()
    assert node.endpoint == "http://203.0.113.9:11435"
