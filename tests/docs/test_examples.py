"""Every endpoint has an example, and each prints what the Docs say, run literally in a shell on a real console.

After a deliberate change of an answer, `UPDATE_EXAMPLES=1` writes the new ones into the files. Read the diff.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db.models import F
from django.utils import timezone

from earnings.accrual.run import accrue_all
from jatevo.accounts.models import Role, User
from jatevo.docs.examples import EXAMPLES, example_of
from jatevo.docs.reference import operations
from jatevo.overview.incident_actions import open_incident
from jatevo.overview.models import Incident, IncidentKind, Severity
from jatevo.wire.webhook import token_text
from nodes import sweeper
from nodes.actions import enrol
from nodes.models import Challenge, NodeTransition
from nodes.rules.challenges import ChallengeKind
from nodes.rules.credentials import derive_secret
from tests.docs.programs import program
from tests.earnings.rows import make_rate
from tests.factories import GatewayFactory, OrgFactory, UserFactory, ValidatorFactory
from tests.web.serving import ServerUnderTest, serving

TIMEOUT_SECONDS = 30
UPDATE = os.environ.get("UPDATE_EXAMPLES") == "1"
TOOLS = ("curl", "jq", "openssl", "awk")

# The order of the story. What an answer gives for the next steps: variable → member.
STORY: dict[str, dict[str, str]] = {
    "auth_login_create": {"ACCESS": "access"},
    "users_me_retrieve": {},
    "auth_refresh_create": {"ACCESS": "access"},
    "enrollments_create": {"ENROLMENT_TOKEN": "token"},
    "enrollments_list": {},
    "nodes_register_create": {"NODE_TOKEN": "node_token"},
    "nodes_heartbeat_create": {},
    "validators_assignments_retrieve": {},
    "probes_create": {},
    "nodes_self_retrieve": {},
    "networks_retrieve": {},
    "gateways_nodes_retrieve": {},
    "dispatches_create": {},
    "receipts_create": {},
    "receipts_list": {},
    "receipts_retrieve": {},
    "receipts_raw_retrieve": {},
    "earnings_list": {},
    "earnings_of_node": {},
    "nodes_list": {},
    "nodes_retrieve": {},
    "nodes_challenge_create": {},
    "nodes_keys_create": {},
    "nodes_token_create": {"NODE_TOKEN": "node_token"},
    "enrollments_destroy": {},
    "summary_retrieve": {},
    "incidents_retrieve": {},
    "auth_logout_create": {},
}

# What differs from run to run, and how it stands in the Docs.
VARYING = (
    (re.compile(r"jve_[\w-]+"), "jve_…"),
    (re.compile(r"jvg_[\w-]+"), "jvg_…"),
    (re.compile(r"whsec_[\w+/=]+"), "whsec_…"),
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "eyJ…"),
    (re.compile(r"ed25519:[\w+/]{42,86}={1,2}"), "ed25519:…"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "5f0c…"),
    (re.compile(r"(?<!:)\b[0-9a-f]{64}\b"), "9c1f…"),
)
TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z| UTC)?)?")


def test_every_endpoint_has_an_example_and_every_example_an_endpoint() -> None:
    ids = {operation.id for operation in operations()}
    assert {path.stem for path in EXAMPLES.glob("*.md")} == ids
    assert set(STORY) == ids


def test_every_example_shows_its_answer() -> None:
    for operation in operations():
        example = example_of(operation.id)
        assert example is not None
        assert example.answer, operation.id
        json.loads(example.answer)


@pytest.mark.django_db(transaction=True)
def test_every_example_prints_what_it_says(tmp_path: Path) -> None:
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    OrgFactory.create(name="Ana's machines")
    UserFactory.create(
        email="ana@example.org", org=OrgFactory.create(name="Machines of Ana"), role=Role.OPERATOR
    )
    make_rate()
    shell = Shell(tmp_path)
    shell.variables |= {
        "VALIDATOR_TOKEN": _token(
            "validator", ValidatorFactory.create(id="validator-1", networks=["198.51.100.7/32"])
        ),
        "GATEWAY_TOKEN": _token(
            "gateway", GatewayFactory.create(id="gateway-1", networks=["203.0.113.64/28"])
        ),
    }
    surprises = []
    with serving(ServerUnderTest.WAITRESS, tmp_path) as port:
        shell.console = f"http://127.0.0.1:{port}"
        for id, gives in STORY.items():
            BEFORE.get(id, _nothing)()
            example = example_of(id)
            assert example is not None
            printed = shell.run(example.command)
            answer = json.loads(printed)
            for variable, member in gives.items():
                shell.variables[variable] = answer[member]
            if shape_of(answer) == shape_of(json.loads(example.answer or "null")):
                continue
            if UPDATE:
                _update(id, answer)
            else:
                surprises.append(f"{id} printed\n{json.dumps(shown(answer), indent=2, ensure_ascii=False)}")
    assert not surprises, "\n\n".join(surprises)


class Shell:
    """A shell in a folder of its own, on a console, with the variables that the Docs name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.console = ""
        self.variables: dict[str, str] = {}

    def run(self, command: str) -> str:
        """What the command prints. It must succeed."""
        script = program("api/signing", "signed.sh") + command
        for address in ("{{ console }}", settings.BASE_URL):
            script = script.replace(address, self.console)
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.variables}
        ended = subprocess.run(
            ["sh", "-eu", "-c", script.replace("$5", "${5:-}")],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout


def shown(value: Any) -> Any:
    """The answer as the Docs show it: secrets and ids are cut off."""
    if isinstance(value, dict):
        return {name: shown(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shown(inner) for inner in value]
    if isinstance(value, str):
        for pattern, words in VARYING:
            value = pattern.sub(words, value)
    return value


def shape_of(value: Any) -> Any:
    """The answer without times, moments and running numbers, which differ from run to run."""
    value = shown(value)
    if isinstance(value, dict):
        return {
            name: name if name in ("answer_ms", "id") and isinstance(inner, (int, float)) else shape_of(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [shape_of(inner) for inner in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 1_600_000_000:
        return "a moment"
    return TIME.sub("a time", value) if isinstance(value, str) else value


def _update(id: str, answer: Any) -> None:
    file = EXAMPLES / f"{id}.md"
    text = file.read_text().partition("\n```json\n")[0].rstrip("\n")
    file.write_text(f"{text}\n\n```json\n{json.dumps(shown(answer), indent=2, ensure_ascii=False)}\n```\n")


def _token(kind: str, sender: Any) -> str:
    return token_text(derive_secret(settings.MASTER_KEY, kind, sender.pk, sender.token_version))


def _nothing() -> None: ...


def _accrue() -> None:
    """What the worker does every few seconds."""
    sweeper.sweep(at=timezone.now())
    accrue_all(at=timezone.now())


def _active_for_a_minute() -> None:
    """The receipt's times are whole seconds, and the node must have been in service in the last of them."""
    NodeTransition.objects.update(at=F("at") - timedelta(minutes=1))


def _enrol_another() -> None:
    ana = User.objects.get(email="ana@example.org")
    assert ana.org is not None
    enrol(org=ana.org, by=ana, at=timezone.now(), node_id="macbook-002")


def _open_incident() -> None:
    incident = Incident(
        kind=IncidentKind.INCIDENT,
        severity=Severity.WARN,
        title="Slow answers in ap-southeast",
        description="Some requests take several seconds.",
        region="ap-southeast",
        starts_at=timezone.now(),
    )
    open_incident(incident=incident, by=UserFactory.create(role=Role.ADMIN), at=timezone.now())


def _challenge() -> None:
    now = timezone.now()
    Challenge.objects.create(
        pk="7d4f1c02-9a3e-4b58-8f6d-2e10c5a9b7d3",
        node_id="macbook-001",
        kind=ChallengeKind.HEALTH,
        nonce="4b6f0a9d2c81e7350f1a6c3d9e28b745",
        prompt="Reply with the word: ready",
        created_at=now,
        asked_at=now,
        expires_at=now + timedelta(seconds=20),
    )


BEFORE: dict[str, Callable[[], None]] = {
    "receipts_create": _active_for_a_minute,
    "receipts_list": _accrue,
    "nodes_challenge_create": _challenge,
    "enrollments_destroy": _enrol_another,
    "incidents_retrieve": _open_incident,
}
