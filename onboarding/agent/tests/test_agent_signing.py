"""The agent's small parts: signed requests, clocks, delays, synthetic requests."""

from __future__ import annotations

import json
import random
import re
import threading
from datetime import datetime, timezone
from pathlib import Path

import jatevo_agent
import jatevo_agent.machine as machine_module
import pynvml
import pytest
from jatevo_agent.backoff import Backoff
from jatevo_agent.clock import ConsoleClock, parse_server_time
from jatevo_agent.completion import Completion, receipt_bytes, unsigned_receipt
from jatevo_agent.machine import MachineFigures
from jatevo_agent.simulate import SyntheticRequests
from jatevo_agent.wire.schema import check_fields
from jatevo_agent.wire.signing import sign, verify
from jatevo_agent.wire.webhook import MalformedTokenError, new_message_id, secret_of, sign_request
from nacl.signing import SigningKey
from standardwebhooks import Webhook, WebhookVerificationError

PACKAGE = Path(jatevo_agent.__file__).parent
NODE_TOKEN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize("body", [b"{}", '{"model":"模型 é"}'.encode(), b""])
def test_the_published_library_verifies_our_headers(body: bytes) -> None:
    now = int(datetime.now(timezone.utc).timestamp())
    headers = sign_request(secret_of(NODE_TOKEN), new_message_id(), now, body)
    if body:  # the library parses what it verified as JSON
        Webhook(NODE_TOKEN).verify(body, headers)
    assert headers["webhook-signature"] == Webhook(NODE_TOKEN).sign(
        headers["webhook-id"], datetime.fromtimestamp(now, timezone.utc), body.decode()
    )


def test_the_published_library_refuses_another_body() -> None:
    now = int(datetime.now(timezone.utc).timestamp())
    headers = sign_request(secret_of(NODE_TOKEN), new_message_id(), now, b'{"a":1}')
    with pytest.raises(WebhookVerificationError):
        Webhook(NODE_TOKEN).verify(b'{"a":2}', headers)


def test_the_specifications_own_example() -> None:
    """https://github.com/standard-webhooks/standard-webhooks, spec: the example of a signature."""
    body = b'{"test": 2432232314}'
    headers = sign_request(secret_of(NODE_TOKEN), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("token", ["", "whsec_", "MfKQ9r8G", "whsec_a", "whsec_????", "jve_AAAA"])
def test_a_malformed_node_token_is_refused(token: str) -> None:
    with pytest.raises(MalformedTokenError):
        secret_of(token)


def test_message_ids_differ() -> None:
    assert len({new_message_id() for _ in range(1000)}) == 1000


def test_small_drift_is_ignored_and_large_drift_corrected() -> None:
    local = [1000.0]
    clock = ConsoleClock(lambda: local[0])
    clock.observe(1009.0)
    assert clock.now() == 1000.0
    clock.observe(1500.0)
    assert clock.now() == 1500.0
    clock.observe(None)
    local[0] = 1505.0  # somebody set the machine's clock right
    clock.observe(1506.0)
    assert clock.offset_seconds == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-09-30T12:00:00Z", 1759233600.0),
        ("2025-09-30T12:00:00.250+00:00", 1759233600.25),
        ("2025-09-30T12:00:00.5Z", 1759233600.5),
        ("2025-09-30T12:00:00.250000000Z", 1759233600.25),
        ("", None),
        (1759233600, 1759233600.0),
        (1759233600.5, 1759233600.5),
        ("2025-09-30T12:00:00", None),
        ("soon", None),
        (None, None),
        (True, None),
        ({}, None),
    ],
)
def test_server_time_in_either_spelling(value: object, expected: float | None) -> None:
    assert parse_server_time(value) == expected


def test_pauses_double_with_jitter_up_to_a_bound() -> None:
    backoff = Backoff(1.0, 20.0, random.Random(7))
    pauses = [backoff.failed() for _ in range(100)]
    for attempt, pause in enumerate(pauses):
        full = min(20.0, 2.0**attempt)
        assert full / 2 <= pause <= full
    assert len(set(pauses[10:])) > 50
    backoff.succeeded()
    assert backoff.failed() <= 1.0


def test_a_fleet_does_not_return_in_one_instant() -> None:
    pauses = [Backoff(8.0, 20.0).failed() for _ in range(50)]
    assert max(pauses) - min(pauses) > 1


def test_retry_after_is_a_lower_bound_that_has_a_bound_itself() -> None:
    assert 30 <= Backoff(1.0, 10.0).failed(30) < 31
    assert Backoff(1.0, 10.0).failed(1e9) < 3601


def collected(rate_per_second: float, count: int) -> list[Completion]:
    completions: list[Completion] = []
    stopping = threading.Event()

    def record(completion: Completion) -> None:
        completions.append(completion)
        if len(completions) >= count:
            stopping.set()

    SyntheticRequests(
        rate_per_second=rate_per_second,
        models=["llama3.1-8b", "qwen2.5-72b"],
        clock=ConsoleClock(lambda: 1736538518.7),
        record=record,
        stopping=stopping,
        rng=random.Random(1),
    ).run()
    return completions


def test_synthetic_requests_make_valid_receipts() -> None:
    key = SigningKey.generate()
    completions = collected(1000.0, 400)
    for completion in completions:
        receipt = sign(unsigned_receipt(completion, node_id="gpu-7", region="eu-west"), key)
        stored = json.loads(receipt_bytes(receipt))
        assert check_fields(stored, now=1736538519.0) == []
        assert verify(stored, bytes(key.verify_key))
    assert len({completion.request_id for completion in completions}) == 400
    assert {completion.model_id for completion in completions} == {"llama3.1-8b", "qwen2.5-72b"}
    assert 0.1 < sum(completion.cache_hit for completion in completions) / 400 < 0.3
    assert 0 < sum(completion.outcome == "error" for completion in completions) < 20


def test_figures_of_this_machine_are_plausible() -> None:
    machine = MachineFigures()
    first, second = machine.metrics(), machine.metrics()
    assert second["uptime"] >= first["uptime"] >= 0
    assert None not in first.values()
    assert 0 < first["mem_used_ratio"] <= 1
    assert 0 <= second["cpu_percent"] <= 100
    attestation = machine.attestation("https://sun.example")
    assert re.fullmatch(r"blake3:[0-9a-f]{64}", attestation["hardware_hash"])
    assert attestation == MachineFigures().attestation("https://sun.example")
    assert set(attestation) == {
        "gpu_model",
        "vram_gb",
        "driver_version",
        "cuda_version",
        "hardware_hash",
        "energy_proof_url",
    }
    machine.close()


def test_a_machine_that_is_stood_for_states_its_own_hardware() -> None:
    stated = {"gpu_model": "Apple M3 Max", "vram_gb": 48, "hardware_hash": "blake3:" + "a" * 64}
    machine = MachineFigures("gpu-1", stated)
    assert machine.attestation("https://sun.example") == stated
    machine.close()


def test_hash_distinguishes_machines_or_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def hash_of(machine_id: str, stands_for: str = "") -> str:
        monkeypatch.setattr(machine_module, "_machine_id", lambda: machine_id)
        machine = MachineFigures(stands_for)
        found: str = machine.attestation(None)["hardware_hash"]
        machine.close()
        return found

    assert hash_of("") == "", "as in many containers, which would all look like one machine"
    named = [
        hash_of("one"),
        hash_of("two"),
        hash_of("one", "gpu-1"),
        hash_of("", "gpu-1"),
        hash_of("", "gpu-2"),
    ]
    assert len(set(named)) == 5
    assert hash_of("one") == named[0]


class Card:
    """A card whose driver either answers or fails."""

    def __init__(self, gpu: float | None) -> None:
        self.gpu = gpu


@pytest.mark.parametrize(
    ("cards", "told"), [([], None), ([Card(None)], None), ([Card(0)], 0.0), ([Card(50), Card(100)], 0.75)]
)
def test_gpu_use_is_reported_if_known_and_never_an_invented_zero(
    monkeypatch: pytest.MonkeyPatch, cards: list[Card], told: float | None
) -> None:
    def rates(card: Card) -> Card:
        if card.gpu is None:
            raise pynvml.NVMLError_NotSupported
        return card

    monkeypatch.setattr("jatevo_agent.machine._nvidia_cards", lambda: cards)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", rates)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTemperature", lambda card, sensor: 61)
    assert MachineFigures().metrics().get("gpu_util") == told


def test_a_machine_without_cards_claims_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jatevo_agent.machine._nvidia_cards", list)
    monkeypatch.setattr("sys.platform", "linux")
    attestation = MachineFigures().attestation(None)
    assert (attestation["gpu_model"], attestation["vram_gb"], attestation["driver_version"]) == ("", None, "")


def test_the_version_is_the_packages() -> None:
    project = (PACKAGE.parent / "pyproject.toml").read_text()
    assert f'\nversion = "{jatevo_agent.__version__}"\n' in project


def test_the_wire_format_is_the_consoles_own() -> None:
    """A link, and a relative one, so that the two cannot drift apart and every clone has it."""
    link = PACKAGE / "wire"
    assert link.readlink() == Path("../../../jatevo/wire")
    assert (link / "signing.py").samefile(PACKAGE.parents[2] / "jatevo" / "wire" / "signing.py")


def test_the_agent_needs_no_django() -> None:
    sources = [path.read_text() for path in PACKAGE.rglob("*.py")]
    assert len(sources) > 15
    assert not [
        text for text in sources if re.search(r"^\s*(import|from) (django|receipts|jatevo)\b", text, re.M)
    ]
