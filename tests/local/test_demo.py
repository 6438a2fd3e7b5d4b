import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from django.utils import timezone

from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from jatevo.audit.record import actor_of
from jatevo.local.children import Children
from jatevo.local.demo import (
    GATEWAY,
    LONGEST_PAUSE_SECONDS,
    MODEL_NODE,
    MODEL_SERVER,
    NODES,
    DemoFleet,
    DemoNode,
    DemoProcess,
)
from jatevo.local.seed import seed_users
from nodes.actions import find_fraud, relate
from nodes.models import Enrollment, FraudCause, Node, NodeMark
from nodes.tokens import node_token, sender_token
from receipts.models import Gateway
from tests.factories import NodeFactory

CONSOLE = "http://127.0.0.1:8000"


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    made = Children(tmp_path / "run")
    yield made
    made.close()


@pytest.fixture
def people(db: None, tmp_path: Path) -> dict[Role, User]:
    return {login.role: login.user for login in seed_users(tmp_path)}


@pytest.fixture
def operator(people: dict[Role, User]) -> User:
    return people[Role.OPERATOR]


@pytest.fixture
def admin(people: dict[Role, User]) -> User:
    return people[Role.ADMIN]


def org_of(user: User) -> Org:
    assert user.org is not None
    return user.org


def config_of(home: Path, node: DemoNode) -> dict[str, object]:
    path = home / "demo" / node.node_id / "agent.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = yaml.safe_load(path.read_text())
    assert isinstance(config, dict)
    return config


def test_fleet_covers_regions_and_runtimes_with_one_that_misbehaves() -> None:
    assert len({node.region for node in NODES}) == 3
    assert {node.runtime for node in NODES} == {"ollama", "vllm", "tensorrtllm", "tgi"}
    assert [node.fault for node in NODES if node.fault] == ["forged-signature"]


def test_new_node_gets_an_enrolment_of_the_operators_org(
    children: Children, operator: User, admin: User, tmp_path: Path
) -> None:
    DemoFleet(tmp_path, children, console_url=CONSOLE, org=org_of(operator), by=operator, admin=admin)
    config = config_of(tmp_path, NODES[0])
    assert str(config["enrollment_token"]).startswith("jve_")
    assert config["console"] == CONSOLE
    assert Enrollment.objects.filter(node_id=NODES[0].node_id, org=operator.org).count() == 1


def test_with_a_model_its_runtime_and_its_node_join_the_fleet(
    children: Children, operator: User, admin: User, tmp_path: Path
) -> None:
    fleet = DemoFleet(
        tmp_path,
        children,
        console_url=CONSOLE,
        org=org_of(operator),
        by=operator,
        admin=admin,
        with_model=True,
    )
    commands = {member.name: member._command for member in fleet.members}
    config = config_of(tmp_path, MODEL_NODE)
    assert config["runtime_url"] == f"http://127.0.0.1:{commands[MODEL_SERVER][-1]}"
    assert "models" not in config
    assert not {"--simulate", "--router", "--fault"} & set(commands[MODEL_NODE.node_id])


def test_the_misbehaving_node_has_its_own_organisation(
    children: Children, operator: User, admin: User, tmp_path: Path
) -> None:
    """Otherwise its finding of fraud would hold nodes that the operator enrols next."""
    DemoFleet(tmp_path, children, console_url=CONSOLE, org=org_of(operator), by=operator, admin=admin)
    (rogue,) = (node for node in NODES if node.fault)
    enrolment = Enrollment.objects.get(node_id=rogue.node_id)
    assert enrolment.org.name == rogue.org != org_of(operator).name
    assert Enrollment.objects.good(at=timezone.now()).filter(pk=enrolment.pk).exists()


def test_a_misbehaving_node_of_an_older_home_leaves_the_operators_organisation(
    children: Children, operator: User, admin: User, tmp_path: Path
) -> None:
    """Its finding of fraud held every node that the operator enrolled on the machine."""
    (rogue,) = (node for node in NODES if node.fault)
    hardware = "blake3:" + "5f" * 32
    culprit = NodeFactory.create(id=rogue.node_id, org=org_of(operator))
    NodeMark.objects.create(node=culprit, kind="hardware", value=hardware, gained_at=timezone.now())
    find_fraud(culprit.pk, cause=FraudCause.ADMIN, by=actor_of(admin), reason="forged", at=timezone.now())
    for _ in range(2):
        DemoFleet(tmp_path, children, console_url=CONSOLE, org=org_of(operator), by=operator, admin=admin)
    culprit.refresh_from_db()
    assert culprit.org.name == rogue.org
    moves = AuditEvent.objects.filter(verb="node.move", subject_id=rogue.node_id)
    assert [(event.actor_id, event.details["before"]) for event in moves] == [
        (actor_of(admin).id, str(org_of(operator).pk))
    ]
    newcomer = NodeFactory.create(org=org_of(operator))
    NodeMark.objects.create(node=newcomer, kind="hardware", value=hardware, gained_at=timezone.now())
    assert relate(at=timezone.now()) == 0


def test_each_node_represents_its_own_machine(
    children: Children, operator: User, admin: User, tmp_path: Path
) -> None:
    fleet = DemoFleet(tmp_path, children, console_url=CONSOLE, org=org_of(operator), by=operator, admin=admin)
    agents = [member._command for member in fleet.members if "jatevo_agent" in member._command]
    assert len({command[command.index("--stand-for") + 1] for command in agents}) == len(NODES)
    assert len({config_of(tmp_path, node)["listen"] for node in NODES}) == len(NODES)


def test_honest_nodes_take_their_requests_from_the_gateway_and_the_rogue_makes_its_own_up(
    children: Children, operator: User, admin: User, tmp_path: Path
) -> None:
    fleet = DemoFleet(tmp_path, children, console_url=CONSOLE, org=org_of(operator), by=operator, admin=admin)
    commands = {member.name: member._command for member in fleet.members}
    port = commands[GATEWAY][commands[GATEWAY].index("--listen") + 1]
    for node in NODES:
        command = commands[node.node_id]
        assert ("--router" in command) is not bool(node.fault)
        assert node.fault or command[command.index("--router") + 1] == f"http://127.0.0.1:{port}"
    (member,) = (member for member in fleet.members if member.name == GATEWAY)
    assert member.env["JATEVO_GATEWAY_TOKEN"] == sender_token(Gateway.objects.get(pk=GATEWAY))
    assert "--gateway-id" in member._command


def test_registered_node_comes_back_with_its_token_at_the_new_port(
    children: Children, operator: User, admin: User, tmp_path: Path
) -> None:
    DemoFleet(tmp_path, children, console_url=CONSOLE, org=org_of(operator), by=operator, admin=admin)
    first = config_of(tmp_path, NODES[0])
    node = Node.objects.create(pk=NODES[0].node_id, org=org_of(operator), region="us-east", runtime="vllm")
    state = tmp_path / "demo" / NODES[0].node_id / "state" / "state.json"
    state.parent.mkdir()
    state.write_text(json.dumps({"console": CONSOLE, "private_key": "kept"}))
    DemoFleet(
        tmp_path,
        children,
        console_url="http://127.0.0.1:9000",
        org=org_of(operator),
        by=operator,
        admin=admin,
    )
    second = config_of(tmp_path, NODES[0])
    assert "enrollment_token" not in second
    assert second["node_token"] == node_token(node)
    assert second["listen"] == first["listen"], "the console remembers the endpoint"
    assert json.loads(state.read_text()) == {"console": "http://127.0.0.1:9000", "private_key": "kept"}


def test_fleet_holds_none_of_the_consoles_secrets(
    children: Children, operator: User, admin: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD_FILE", "/run/secrets/postgres_password")
    monkeypatch.setenv("EMAIL_URL", "smtp://user:password@mail.example.org")
    fleet = DemoFleet(tmp_path, children, console_url=CONSOLE, org=org_of(operator), by=operator, admin=admin)
    for member in fleet.members:
        assert os.environ["JATEVO_MASTER_KEY"] not in member.env.values()
        assert not {"DATABASE_URL", "REDIS_URL", "PGHOST", "JATEVO_SECRET_KEY"} & set(member.env)
        assert not {"DATABASE_PASSWORD_FILE", "EMAIL_URL"} & set(member.env)
        assert "127.0.0.1" in member.env["NO_PROXY"]


def ending_with(code: int) -> DemoProcess:
    return DemoProcess(
        "member", [sys.executable, "-c", f"raise SystemExit({code})"], dict(os.environ), start_at=100.0
    )


def run_once(member: DemoProcess, children: Children, logs: Path, *, at: float) -> bool:
    """Whether a process was started at that time. It has ended when this returns."""
    member.tick(children, logs, at=at)
    if member.child is None:
        return False
    member.child.process.wait()
    member.tick(children, logs, at=at)
    return True


def test_member_starts_at_its_time_and_again_after_growing_pauses(children: Children, tmp_path: Path) -> None:
    member = ending_with(1)
    assert not run_once(member, children, tmp_path, at=99.9)
    assert run_once(member, children, tmp_path, at=100.0)
    assert not run_once(member, children, tmp_path, at=100.9)
    assert run_once(member, children, tmp_path, at=101.0)
    assert not run_once(member, children, tmp_path, at=102.9)
    assert run_once(member, children, tmp_path, at=103.0)
    assert run_once(member, children, tmp_path, at=103.0 + LONGEST_PAUSE_SECONDS)


def test_member_that_needs_a_person_is_not_started_again(children: Children, tmp_path: Path) -> None:
    member = ending_with(2)
    assert run_once(member, children, tmp_path, at=100.0)
    assert not run_once(member, children, tmp_path, at=10_000.0)


def test_fleet_starts_and_ends_its_members(
    children: Children, operator: User, admin: User, tmp_path: Path
) -> None:
    fleet = DemoFleet(tmp_path, children, console_url=CONSOLE, org=org_of(operator), by=operator, admin=admin)
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    fleet.members = [
        DemoProcess("early", sleeper, dict(os.environ), start_at=0.0),
        DemoProcess("late", sleeper, dict(os.environ), start_at=50.0),
    ]
    (tmp_path / "logs").mkdir()
    fleet.tick(at=10.0)
    early, late = (member.child for member in fleet.members)
    assert early is not None
    assert early.running()
    assert late is None
    fleet.stop(grace_seconds=5)
    assert not early.running()
