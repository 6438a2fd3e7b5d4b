"""`jatevo-agent status`: for people, as JSON, and following an agent until its node is active."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_process import AgentProcess
from fake_console import ConsoleForAgents
from jatevo_agent.config import Config, load_config
from jatevo_agent.follow import Follower
from jatevo_agent.server_view import NoServerView, ServerView
from jatevo_agent.service import Service
from jatevo_agent.snapshot import Snapshot
from jatevo_agent.spool import SpoolCounts
from jatevo_agent.state import NodeState

STATE = NodeState("gpu-7", "https://console.example", bytes(32), "whsec_AAAA", registered_at=1000.0)
NOTHING_YET = Snapshot(
    node_id="gpu-7",
    console="https://console.example",
    state=None,
    is_running=False,
    counts=SpoolCounts(0, 0, 0),
    agent_version=None,
    started_at=None,
    heartbeats_accepted=0,
    last_heartbeat=None,
    needs_a_person=None,
    needs_a_person_since=None,
)
RUNNING = replace(NOTHING_YET, is_running=True, agent_version="2.0.0", started_at=1000.0)
REGISTERED = replace(RUNNING, state=STATE)
BEATING = replace(
    REGISTERED,
    heartbeats_accepted=1,
    last_heartbeat={"outcome": "accepted", "node_status": "pending", "models": [], "runtime_up": False},
)
SERVING = replace(
    BEATING,
    last_heartbeat={**(BEATING.last_heartbeat or {}), "models": ["llama3.1", "qwen3"], "runtime_up": True},
)
PENDING = ServerView("pending", "", None, None, None, None, None, "Wait for the first probe.", 0.0)
ACTIVE = replace(PENDING, status="active", reachable=True, advice="")


class Story:
    """The agent and the console as they change, one look at a time. Sleeping takes no time."""

    def __init__(self, config: Config, *looks: Snapshot, view: ServerView | None = None) -> None:
        self._looks = list(looks)
        self._view = view
        self.now = 0.0
        self.lines: list[str] = []
        self.follower = Follower(
            self._look,
            self._ask,
            config,
            Service("none", "jatevo-agent run", "the terminal"),
            self.lines.append,
            clock=lambda: self.now,
            wall_clock=lambda: 1000.0 + self.now,
            sleep=self._sleep,
        )

    def _look(self) -> Snapshot:
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    def _ask(self, console_url: str, state: NodeState) -> ServerView:
        if self._view is None:
            raise NoServerView("ConnectError: refused")
        return self._view

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "agent.yaml").write_text(
        "console: https://console.example\nnode_id: gpu-7\nregion: eu-west\nruntime: ollama\n"
    )
    return load_config(tmp_path / "agent.yaml", {})


def test_each_step_is_said_once_with_its_time(config: Config) -> None:
    story = Story(config, NOTHING_YET, RUNNING, REGISTERED, REGISTERED, BEATING, SERVING, view=ACTIVE)
    assert story.follower.follow(60)
    assert story.lines == [
        "   0.5 s  the agent is running, version 2.0.0",
        "   1.0 s  registered as gpu-7 at https://console.example",
        "   2.0 s  the console accepted the first heartbeat",
        "   2.0 s  reachable: a validator reached the endpoint",
        "   2.0 s  active",
    ]


def test_runtime_and_models_are_steps(config: Config) -> None:
    story = Story(config, SERVING, view=ACTIVE)
    assert story.follower.follow(60)
    assert "   0.0 s  ollama answers" in story.lines
    assert "   0.0 s  models: llama3.1, qwen3" in story.lines


def test_behind_nat_is_said_plainly(config: Config) -> None:
    view = replace(ACTIVE, reachable=False, challenge_passed_at="2026-01-01T00:00:00Z")
    story = Story(config, SERVING, view=view)
    assert story.follower.follow(60)
    assert any("behind NAT" in line and "cannot send requests" in line for line in story.lines)


@pytest.mark.parametrize(
    ("snapshot", "view", "advice"),
    [
        (NOTHING_YET, None, "The agent is not running"),
        (RUNNING, None, "The agent is not registered yet"),
        (REGISTERED, None, "No heartbeat was accepted yet"),
        (BEATING, PENDING, "The runtime does not answer. Start it with `ollama serve`"),
        (
            replace(BEATING, last_heartbeat={**(BEATING.last_heartbeat or {}), "runtime_up": True}),
            PENDING,
            "The runtime offers no model. ",
        ),
        (SERVING, PENDING, "Wait for the first probe."),
        (SERVING, None, "The console does not say how it sees the node: ConnectError: refused."),
        (SERVING, replace(PENDING, advice=""), "The console says pending."),
    ],
)
def test_when_the_time_is_over_it_says_what_is_missing(
    config: Config, snapshot: Snapshot, view: ServerView | None, advice: str
) -> None:
    story = Story(config, snapshot, view=view)
    assert not story.follower.follow(5)
    assert story.now == pytest.approx(5, abs=0.6)
    assert story.lines[-1].startswith("Not active after 5 s. " + advice)


def test_what_a_person_must_do_ends_the_waiting(config: Config) -> None:
    stopped = replace(NOTHING_YET, needs_a_person="Create a new token.", needs_a_person_since=1001.0)
    story = Story(config, NOTHING_YET, stopped)
    assert not story.follower.follow(60)
    assert story.lines == ["The agent cannot work. Create a new token."]
    assert story.now < 1


def test_an_older_problem_does_not_end_it(config: Config) -> None:
    earlier = replace(NOTHING_YET, needs_a_person="Create a new token.", needs_a_person_since=100.0)
    assert Story(config, earlier, SERVING, view=ACTIVE).follower.follow(60)


def test_without_the_consoles_view_the_heartbeats_answer_counts(config: Config) -> None:
    last = {**(SERVING.last_heartbeat or {}), "node_status": "active"}
    assert Story(config, replace(SERVING, last_heartbeat=last)).follower.follow(5)


def status(agent: AgentProcess, *options: str) -> tuple[int, str]:
    finished = agent.command("status", "--config", str(agent.config_path), *options)
    assert finished.stderr == ""
    return finished.returncode, finished.stdout


def test_a_running_agent_is_followed_until_it_is_active(
    agent: AgentProcess, console: ConsoleForAgents
) -> None:
    console.node_status = "active"
    console.self_view = {"reachable": True}
    agent.start("--simulate", "1")
    code, said = status(agent, "--follow", "30")
    assert (code, said.splitlines()[-1].split("  ")[-1]) == (0, "active")
    assert "registered as macbook-001" in said
    code, said = status(agent)
    assert code == 0
    assert "  reachable  yes" in said
    assert "  console    active" in said


def test_an_agent_that_was_never_started(agent: AgentProcess) -> None:
    code, said = status(agent, "--follow", "0")
    assert code == 1
    assert said.startswith(
        "Not active after 0 s. The agent is not running. Start it: jatevo-agent run --config"
    )
    code, said = status(agent)
    assert (code, "not running" in said) == (0, True)


@pytest.mark.parametrize(
    ("view", "member", "expected"),
    [
        ({"reachable": "yes"}, "reachable", None),
        ({"advice": "open\u001b[31m the port"}, "advice", ""),
        ({"last_probe": "ok"}, "last_probe", None),
        ({"advice": "Open port 11435."}, "advice", "Open port 11435."),
    ],
)
def test_the_consoles_answer_is_not_trusted_with_the_terminal(
    agent: AgentProcess, console: ConsoleForAgents, view: dict[str, Any], member: str, expected: object
) -> None:
    console.self_view = view
    agent.start()
    console.wait_for(lambda: console.heartbeats)
    document = json.loads(status(agent, "--json")[1])
    assert document["seen_by_console"][member] == expected
    assert document["running"] is True


def test_a_clock_that_is_off_is_no_obstacle_and_makes_no_noise(
    agent: AgentProcess, console: ConsoleForAgents
) -> None:
    console.clock_offset_seconds = 4000.0
    agent.start()
    console.wait_for(lambda: console.heartbeats)
    finished = agent.command_of_its_own("status", "--json", "--config", str(agent.config_path))
    assert (finished.returncode, finished.stderr) == (0, "")
    view = json.loads(finished.stdout)["seen_by_console"]
    assert view["clock_offset_seconds"] == pytest.approx(4000, abs=5)
