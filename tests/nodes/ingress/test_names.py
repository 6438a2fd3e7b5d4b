"""One rule for the names that agents supply, at every door they come in by."""

import time
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from jatevo.overview.kpis import census
from jatevo.wire import signing
from jatevo.wire.names import normal_model
from nodes.models import Node, NodeAttestation, NormalModel
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory, ReceiptFactory, UserFactory, receipt_payload, signing_key_of
from tests.machines import SignedSender
from tests.nodes.actions.test_enrolment import enrol, register
from tests.wire.hostile_names import HOSTILE

pytestmark = pytest.mark.django_db

# what strict JSON refuses before any name is looked at
SENDABLE = {why: name for why, name in HOSTILE.items() if why not in ("surrogate", "null")}
EVIL = "llama\u202e8b-1.3\n\a"


@pytest.fixture
def node() -> Node:
    return NodeFactory.create()


@pytest.mark.parametrize("name", SENDABLE.values(), ids=SENDABLE)
def test_heartbeat_leaves_a_bad_model_out_and_says_so(node: Node, name: str) -> None:
    answer = SignedSender.node(node).beat(models=["qwen3", name])
    assert answer.status_code == 200
    assert answer.json()["ignored"] == [name]
    node.refresh_from_db()
    assert node.models_offered == ["qwen3"]
    assert node.last_heartbeat_at is not None


def test_an_answer_without_anything_ignored_does_not_speak_of_it(node: Node) -> None:
    assert "ignored" not in SignedSender.node(node).beat(models=["qwen3"]).json()


def test_other_bad_names_of_a_heartbeat_are_left_out_by_their_path(node: Node) -> None:
    answer = SignedSender.node(node).beat(
        agent_version=EVIL,
        attest={"gpu_model": EVIL, "driver_version": "550.54", "cuda_version": EVIL, "hardware_hash": EVIL},
        metrics={"uptime": 1, EVIL: 1, "note": EVIL, "disk": "ok"},
    )
    assert answer.status_code == 200
    assert set(answer.json()["ignored"]) == {
        f"metrics.{EVIL}", "metrics.note", "attest.gpu_model", "attest.cuda_version", "attest.hardware_hash",
        "agent_version",
    }  # fmt: skip
    node.refresh_from_db()
    assert node.last_metrics == {"uptime": 1, "disk": "ok"}
    assert node.attestation.driver_version == "550.54"
    assert EVIL not in str((node.agent_version, NodeAttestation.objects.values().get(node=node)))


@pytest.mark.parametrize("name", SENDABLE.values(), ids=SENDABLE)
def test_registration_names_a_bad_model(name: str) -> None:
    token = enrol(UserFactory.create()).json()["token"]
    answer = register(token, models=["qwen3", name])
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["error"]["details"]] == ["models.1"]
    assert not Node.objects.exists()


def test_registration_names_every_bad_name() -> None:
    token = enrol(UserFactory.create()).json()["token"]
    answer = register(
        token,
        agent_version=EVIL,
        attest={"gpu_model": EVIL, "driver_version": EVIL, "cuda_version": EVIL, "hardware_hash": EVIL},
        wallet={"chain": "x\n", "address": EVIL},
    )
    assert answer.status_code == 422
    assert {problem["field"] for problem in answer.json()["error"]["details"]} == {
        "attest.gpu_model", "attest.driver_version", "attest.cuda_version", "attest.hardware_hash",
        "agent_version", "wallet.chain", "wallet.address",
    }  # fmt: skip
    longest = "x" * 128
    answer = register(token, agent_version=longest, models=[longest], attest={"gpu_model": longest})
    assert answer.status_code == 201


@pytest.mark.parametrize("name", SENDABLE.values(), ids=SENDABLE)
def test_a_receipt_of_a_bad_model_is_refused(node: Node, name: str) -> None:
    payload = signing.sign({**receipt_payload(node.pk), "model_id": name}, signing_key_of(node.pk))
    answer = SignedSender.node(node).send("/v1/receipts", payload)
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["error"]["details"]] == ["model_id"]


def test_stored_bad_names_and_made_up_zeros_are_cleaned(node: Node) -> None:
    mac = NodeFactory.create(
        models_offered=["Qwen3", EVIL, "qwen3:latest"],
        agent_version=EVIL,
        last_metrics={"uptime": 0, "gpu_util": 0.0, EVIL: 1, "note": EVIL, "disk": "ok"},
    )
    NodeAttestation.objects.filter(node=mac).update(gpu_model=EVIL, driver_version="", vram_gb=0)
    Node.objects.filter(pk=node.pk).update(last_metrics={"gpu_util": 0})
    NodeAttestation.objects.filter(node=node).update(driver_version="550.54", vram_gb=24)
    migration = import_module("nodes.migrations.0018_clean_names")
    migration.clean(apps, None)
    with connection.cursor() as cursor:
        for operation in migration.Migration.operations[1:]:
            cursor.execute(operation.sql)
    mac.refresh_from_db()
    assert (mac.models_offered, mac.agent_version) == (["Qwen3"], "")
    assert mac.last_metrics == {"uptime": 0, "disk": "ok"}
    assert (mac.attestation.gpu_model, mac.attestation.vram_gb) == ("", None)
    node.refresh_from_db()
    assert node.last_metrics == {"gpu_util": 0}, "a card with a driver can be idle"
    assert (node.models_offered, node.attestation.vram_gb) == (["llama3.1-8b"], 24)


NAMES = ["qwen3", "QWEN3", "qwen3:latest", "Qwen3:LATEST", "qwen3:8b", ":latest", "a:latest:latest", "MODÈLE", "İ",
         "q.w(en)+", "a b:latest", "\\1"]  # fmt: skip


def test_the_database_knows_the_same_normal_form(node: Node) -> None:
    for name in NAMES:
        ReceiptFactory(node=node, model_id=name)
    rows = node.receipts.annotate(normal=NormalModel("model_id")).values_list("model_id", "normal")
    assert dict(rows) == {name: normal_model(name) for name in NAMES}


def test_spellings_of_a_model_are_one_cached_model() -> None:
    for models in (["qwen3"], ["QWEN3:latest", "llama"], ["qwen3:latest"], ["Qwen3", "qwen3:8b"]):
        NodeFactory.create(status=Status.ACTIVE, models_offered=models)
    assert census(at=timezone.now()).models_cached == 3


def test_a_model_is_shown_as_given_and_once(node: Node) -> None:
    SignedSender.node(node).beat(models=["QWEN3", "qwen3:latest", "llama"])
    node.refresh_from_db()
    assert node.models_offered == ["QWEN3", "llama"]
    token = enrol(UserFactory.create()).json()["token"]
    register(token, node_id="n-2", models=["qwen3:latest", "Qwen3"])
    assert Node.objects.get(pk="n-2").models_offered == ["qwen3:latest"]


@pytest.mark.parametrize("lead", [31, 250])
def test_heartbeat_of_a_clock_ahead_tells_the_time_and_locks_nobody_out(node: Node, lead: int) -> None:
    machine = SignedSender.node(node)
    answer = machine.beat(ts=time.time() + lead)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "clock_skew")
    assert abs(answer.json()["error"]["server_time"] - time.time()) < 5
    assert machine.beat().status_code == 200


def test_heartbeat_a_little_ahead_is_taken(node: Node) -> None:
    assert SignedSender.node(node).beat(ts=time.time() + 25).status_code == 200


@pytest.mark.parametrize("metrics", [{"uptime": 1}, {"uptime": None, "gpu_util": None, "temp": None}])
def test_what_a_node_cannot_know_it_leaves_out_or_sends_as_null(node: Node, metrics: dict[str, Any]) -> None:
    assert SignedSender.node(node).beat(metrics=metrics).status_code == 200
    node.refresh_from_db()
    assert node.last_metrics == metrics
