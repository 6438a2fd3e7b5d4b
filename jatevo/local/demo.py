"""The demo fleet: reference agents in three regions, a validator and a gateway, each in its own process.

They use the HTTP API like any other agent, know only their own secrets, and are restarted when they end.
"""

import json
import os
import random
import socket
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from django.utils import timezone

from jatevo.accounts.models import Org, User
from jatevo.local.checks import LOOPBACK
from jatevo.local.children import Child, Children
from jatevo.local.demo_earnings import invent_wallet
from jatevo.local.demo_history import HARDWARE_FILE, LOOPBACK_NETWORKS, PastNode, invent_history
from jatevo.local.keys import write_private
from nodes.actions import create_sender, enrol, move
from nodes.models import Node, Validator
from nodes.tokens import node_token
from receipts.models import Gateway

log = structlog.get_logger(__name__)

BASE_DIR = Path(__file__).resolve().parent.parent.parent
VALIDATOR = "demo-validator"
GATEWAY = "demo-gateway"
# Exists, relative to the home, if there is invented history, and says until when.
HISTORY = "demo/history.json"
# Below the range of ports for outgoing connections, so that a port is still free at the next start.
PORTS = range(21000, 32000)
NEEDS_A_PERSON = 2  # the exit code of agents and validators when a restart would not help
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
STEADY_SECONDS = 60.0  # a process that ran this long is restarted without a pause
# The console's stores, keys and settings, which the fleet must not see.
PRIVATE = (
    "JATEVO_",
    "DJANGO_",
    "PG",
    "DATABASE_",
    "REDIS_",
    "CLICKHOUSE_",
    "EMAIL_",
    "PYTHONPATH",
    "PYTHONHOME",
)


@dataclass(frozen=True)
class DemoNode:
    node_id: str
    region: str
    runtime: str
    models: tuple[str, ...]
    requests_per_second: float
    fault: str = ""
    delay_seconds: float = 0.0
    org: str = ""  # the name of its organisation; empty for the operator's


NODES = (
    DemoNode("macbook-001", "ap-southeast", "ollama", ("llama3.1-8b", "qwen2.5-7b"), 0.01),
    DemoNode("sgp-rtx4090-01", "ap-southeast", "vllm", ("llama3.1-8b", "mistral-nemo-12b"), 0.03),
    DemoNode("iad-h100-01", "us-east", "tensorrtllm", ("llama3.1-70b",), 0.02),
    DemoNode("iad-l40s-02", "us-east", "vllm", ("qwen2.5-32b",), 0.01),
    DemoNode("fra-a100-01", "eu-central", "tgi", ("mixtral-8x7b",), 0.01),
    # Joins later and signs with a key that is not its own, to show a quarantine. It has its own
    # organisation, because a finding of fraud also holds nodes that the same organisation registers later.
    DemoNode(
        "fra-rogue-02",
        "eu-central",
        "ollama",
        ("llama3.1-8b",),
        0.2,
        fault="forged-signature",
        delay_seconds=30.0,
        org="Rogue Compute (demo)",
    ),
)

# With `make run MODEL=1`: it serves a real, small model on this machine, and receives no invented requests.
MODEL_NODE = DemoNode("smollm2-01", "eu-central", "vllm", (), 0.0)
MODEL_SERVER = "model"


class DemoProcess:
    """One process of the fleet, restarted after growing pauses. Times are monotonic seconds."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], *, start_at: float) -> None:
        self.name = name
        self.child: Child | None = None
        self._command = command
        self.env = env
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._start_at = start_at
        self._started_at = 0.0
        self._given_up = False

    def tick(self, children: Children, logs: Path, *, at: float) -> None:
        """Start the process if it is due. If it has ended, plan the next start."""
        if self.child is None:
            if not self._given_up and at >= self._start_at:
                log_file = logs / f"{self.name}.log"
                self.child = children.start(
                    self.name, self._command, log=log_file, env=self.env, cwd=BASE_DIR
                )
                self._started_at = at
            return
        if self.child.running():
            return
        code = self.child.process.returncode
        log.warning("demo process ended", name=self.name, code=code, said=self.child.last_words(1))
        self._given_up = code == NEEDS_A_PERSON
        if at - self._started_at >= STEADY_SECONDS:
            self._pause_seconds = FIRST_PAUSE_SECONDS
        self._start_at = at + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
        self.child = None

    def ask_to_stop(self) -> None:
        if self.child is not None and self.child.running():
            self.child.process.send_signal(self.child.stop_signal)

    def stop(self, children: Children, *, grace_seconds: float) -> None:
        if self.child is not None:
            children.stop(self.child, grace_seconds=grace_seconds)
            self.child = None


class DemoFleet:
    """The demo nodes, their validator and their gateway. Later runs use the same nodes with the same keys.

    `by` enrols the nodes of `org`. `admin` enrols the one that has its own organisation. `with_model` adds a
    runtime with a real model, and its node.
    """

    def __init__(
        self,
        home: Path,
        children: Children,
        *,
        console_url: str,
        org: Org,
        by: User,
        admin: User,
        with_model: bool = False,
    ) -> None:
        self._children = children
        self._logs = home / "logs"
        folder = home / "demo"
        folder.mkdir(mode=0o700, exist_ok=True)
        env, now = _environment(), time.monotonic()
        _, validator_token = create_sender(
            Validator, name=VALIDATOR, by=by, at=timezone.now(), networks=LOOPBACK_NETWORKS
        )
        _, gateway_token = create_sender(
            Gateway, name=GATEWAY, by=by, at=timezone.now(), networks=LOOPBACK_NETWORKS
        )
        gateway = folder / GATEWAY
        gateway.mkdir(mode=0o700, exist_ok=True)
        gateway_port = _port(gateway)
        self.members = [
            DemoProcess(
                node.node_id,
                _agent_command(
                    node,
                    f"http://{LOOPBACK}:{gateway_port}",
                    _configure(
                        node,
                        folder / node.node_id,
                        console_url,
                        Org.objects.get_or_create(name=node.org)[0] if node.org else org,
                        admin if node.org else by,
                    ),
                ),
                env,
                start_at=now + node.delay_seconds,
            )
            for node in NODES
        ]
        command = [sys.executable, "-m", "nodes.validator", "--console", console_url]
        command += ["--validator-id", VALIDATOR, "--allow-private"]
        self.members.append(
            DemoProcess(VALIDATOR, command, env | {"JATEVO_VALIDATOR_TOKEN": validator_token}, start_at=now)
        )
        command = [sys.executable, "-m", "jatevo.local.demo_gateway", "--console", console_url]
        command += ["--gateway-id", GATEWAY, "--listen", str(gateway_port)]
        self.members.append(
            DemoProcess(GATEWAY, command, env | {"JATEVO_GATEWAY_TOKEN": gateway_token}, start_at=now)
        )

        if with_model:
            self.members += _model_and_its_node(folder, env, console_url, org, by, start_at=now)

    def tick(self, *, at: float) -> None:
        """Starts processes that are due and restarts those that have ended. Called a few times a second."""
        for member in self.members:
            member.tick(self._children, self._logs, at=at)

    def stop(self, *, grace_seconds: float) -> None:
        """Ask all of them to stop at once, and kill those that are still running after `grace_seconds`."""
        for member in self.members:
            member.ask_to_stop()
        deadline = time.monotonic() + grace_seconds
        for member in self.members:
            member.stop(self._children, grace_seconds=max(0.1, deadline - time.monotonic()))


def history_until(home: Path) -> datetime | None:
    """When this installation's invented history ends. None if there is none."""
    kept = home / HISTORY
    return datetime.fromisoformat(json.loads(kept.read_text())["until"]) if kept.exists() else None


def ensure_history(home: Path, *, console_url: str, org: Org, by: User) -> None:
    """Invents the fleet's history, once, if there are no nodes yet."""
    if history_until(home) is not None or Node.objects.exists():
        return
    at = timezone.now()
    agents = []
    for node in NODES:
        folder = home / "demo" / node.node_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not node.fault:
            endpoint = f"http://{LOOPBACK}:{_port(folder)}"
            agents.append(
                PastNode(node.node_id, node.region, node.runtime, node.models, folder / "state", endpoint)
            )
    invent_history(
        agents, org=org, by=by, console_url=console_url, validator=VALIDATOR, gateway=GATEWAY, at=at
    )
    invent_wallet(org, by=by, at=at)
    write_private(home / HISTORY, json.dumps({"until": at.isoformat()}))


def _model_and_its_node(
    folder: Path, env: dict[str, str], console_url: str, org: Org, by: User, *, start_at: float
) -> list[DemoProcess]:
    runtime = folder / MODEL_SERVER
    runtime.mkdir(mode=0o700, exist_ok=True)
    port = _port(runtime)
    config = _configure(
        MODEL_NODE,
        folder / MODEL_NODE.node_id,
        console_url,
        org,
        by,
        runtime_url=f"http://{LOOPBACK}:{port}",
    )
    serve = [sys.executable, "-m", "jatevo.local.model_server", "--port", str(port)]
    agent = [sys.executable, "-m", "jatevo_agent", "run", "--config", str(config)]
    agent += ["--stand-for", MODEL_NODE.node_id]
    return [
        DemoProcess(MODEL_SERVER, serve, env, start_at=start_at),
        DemoProcess(MODEL_NODE.node_id, agent, env, start_at=start_at),
    ]


def _agent_command(node: DemoNode, router: str, config: Path) -> list[str]:
    command = [sys.executable, "-m", "jatevo_agent", "run", "--config", str(config)]
    # The nodes share this machine, but each represents a machine of its own.
    command += ["--simulate", str(node.requests_per_second), "--stand-for", node.node_id]
    hardware = config.with_name(HARDWARE_FILE)
    if hardware.exists():
        command += ["--attest", str(hardware)]
    # The one that misbehaves makes up its requests: no gateway has sent them.
    return [*command, *(["--fault", node.fault] if node.fault else ["--router", router])]


def _configure(
    node: DemoNode, folder: Path, console_url: str, org: Org, by: User, *, runtime_url: str = ""
) -> Path:
    """Write agent.yaml, since the console's port may have changed. Creates an enrolment for a new node."""
    folder.mkdir(mode=0o700, exist_ok=True)
    entries: dict[str, object] = {
        "console": console_url,
        "node_id": node.node_id,
        "region": node.region,
        "runtime": node.runtime,
        "models": list(node.models),
        "listen": f"{LOOPBACK}:{_port(folder)}",
        "state_dir": str(folder / "state"),
    }
    if runtime_url:
        del entries["models"]  # those of the runtime
        entries["runtime_url"] = runtime_url
    registered = Node.objects.filter(pk=node.node_id).first()
    if registered is None:
        _, entries["enrollment_token"] = enrol(
            org=org, by=by, at=timezone.now(), node_id=node.node_id, region=node.region, runtime=node.runtime
        )
    else:
        if node.org and registered.org_id != org.pk:
            # In older homes it belongs to the operator's organisation, where its fraud would hold new nodes.
            move(node=registered, org=org, by=by, at=timezone.now())
        # It has this token, unless it was killed before it received the answer to its registration.
        entries["node_token"] = node_token(registered)
        _follow(folder / "state" / "state.json", console_url)
    config = folder / "agent.yaml"
    # JSON values are valid YAML.
    write_private(config, "".join(f"{key}: {json.dumps(value)}\n" for key, value in entries.items()))
    return config


def _follow(state: Path, console_url: str) -> None:
    """Write the console's current address to a registered agent's state file.

    An agent refuses to use its identity at another console, but this is the same console on another PORT.
    """
    if state.exists():
        known = json.loads(state.read_text())
        if known.get("console") != console_url:
            write_private(state, json.dumps({**known, "console": console_url}, indent=2))


def _port(folder: Path) -> int:
    """The port of the node's health endpoint. It is chosen once, because the console stores it."""
    kept = folder / "port"
    if kept.exists():
        return int(kept.read_text())
    for port in random.SystemRandom().sample(PORTS, 50):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        kept.write_text(f"{port}\n")
        return port
    raise OSError("no free port for a demo node")


def _environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
    # The machine's HTTP proxy must not be used for a console on the same machine.
    bypass = ",".join(filter(None, [env.get("NO_PROXY") or env.get("no_proxy"), LOOPBACK, "localhost"]))
    return env | {"NO_PROXY": bypass, "no_proxy": bypass}
