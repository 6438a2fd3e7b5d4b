"""`jatevo-agent doctor`: every check finds its fault and says what to do, and a report holds no secret."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from agent_process import AgentProcess
from fake_console import ConsoleForAgents, free_port
from jatevo_agent.config import load_config
from jatevo_agent.doctor.findings import Verdict
from jatevo_agent.doctor.machine_checks import receipts_finding, running_findings
from jatevo_agent.doctor.network_checks import endpoint_finding
from jatevo_agent.doctor.report import redacted, report
from jatevo_agent.service import Service, find_service
from jatevo_agent.snapshot import take_snapshot
from jatevo_agent.spool import Refusal, Spool

BY_HAND = Service("none", "jatevo-agent run", "the terminal")


class _Ollama(BaseHTTPRequestHandler):
    models: tuple[str, ...] = ("llama3.1-8b:latest",)

    def do_GET(self) -> None:
        body = json.dumps({"models": [{"name": name, "digest": "ab" * 32} for name in self.models]}).encode()
        self.send_response(200 if self.path == "/api/tags" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing."""


@pytest.fixture
def ollama() -> Iterator[str]:
    """A runtime's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Ollama)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def doctor(agent: AgentProcess, *options: str) -> tuple[int, str]:
    finished = agent.command("doctor", "--config", str(agent.config_path), *options)
    assert finished.stderr == ""
    return finished.returncode, finished.stdout


def serving(agent: AgentProcess, console: ConsoleForAgents, runtime_url: str) -> None:
    """A node that serves and that the console calls active and reachable."""
    agent.configure(runtime_url=runtime_url)
    agent.config_path.chmod(0o600)
    console.node_status, console.self_view = "active", {"reachable": True}
    agent.start()
    console.wait_for(lambda: console.heartbeats)


def test_a_node_in_order(agent: AgentProcess, console: ConsoleForAgents, ollama: str) -> None:
    serving(agent, console, ollama)
    code, said = doctor(agent)
    assert (code, [line for line in said.splitlines() if line.startswith("problem")]) == (0, []), said
    for line in (
        "the agent is running",
        f"ollama at {ollama} answers; models: llama3.1-8b",
        "listener: answers at",
        "node token: the console accepts it",
        "clock: close enough",
        "console's view: active",
        "reachable: validators reach it",
        "No problem found.",
    ):
        assert line in said


def test_an_agent_that_was_never_started(agent: AgentProcess) -> None:
    agent.configure(runtime_url=f"http://127.0.0.1:{free_port()}")
    code, said = doctor(agent)
    assert code == 1
    assert "running: the agent is not running" in said
    assert "-> Start it: `jatevo-agent run --config" in said
    assert "does not answer" in said
    assert "`ollama serve`" in said
    assert "registration: the node is not registered" in said
    assert said.splitlines()[-1].startswith("3 problems.")


def test_behind_nat_it_says_what_traffic_waits_for(
    agent: AgentProcess, console: ConsoleForAgents, ollama: str
) -> None:
    serving(agent, console, ollama)
    console.self_view = {
        "reachable": False,
        "challenge_passed_at": "2026-01-01T00:00:00Z",
        "last_probe": {"kind": "health", "ok": False, "fault": "timeout", "detail": "no answer within 5 s"},
    }
    code, said = doctor(agent)
    assert code == 0
    assert (
        "reachable: online, but receives no traffic until validators reach the endpoint"
        " (the last probe: no answer within 5 s)"
    ) in said
    assert "-> Forward the endpoint's port" in said


def test_a_refused_token(agent: AgentProcess, console: ConsoleForAgents, ollama: str) -> None:
    serving(agent, console, ollama)
    console.nodes["macbook-001"].node_token = "whsec_AAAA"
    code, said = doctor(agent)
    assert code == 1
    assert "node token: the console does not accept it" in said
    assert "put it into agent.yaml as node_token" in said


def test_a_console_that_is_away(agent: AgentProcess, console: ConsoleForAgents, ollama: str) -> None:
    serving(agent, console, ollama)
    console.stop()
    code, said = doctor(agent)
    assert code == 1
    assert f"console: {console.url} cannot be reached" in said
    assert "curl -v" in said


def test_the_consoles_advice_is_passed_on(
    agent: AgentProcess, console: ConsoleForAgents, ollama: str
) -> None:
    serving(agent, console, ollama)
    console.node_status = "quarantine"
    console.self_view = {"status_reason": "wrong_output", "advice": "Check the model files."}
    code, said = doctor(agent)
    assert code == 1
    assert "console's view: quarantine (wrong_output)" in said
    assert "-> Check the model files." in said


def test_a_clock_that_is_off(agent: AgentProcess, console: ConsoleForAgents, ollama: str) -> None:
    console.clock_offset_seconds = 4000
    serving(agent, console, ollama)
    assert "this machine's clock is off by -40" in doctor(agent)[1]


def test_another_program_at_the_listen_address(
    agent: AgentProcess, console: ConsoleForAgents, ollama: str
) -> None:
    serving(agent, console, ollama)
    agent.configure(listen=ollama.removeprefix("http://"))
    assert "another program, or another node's agent, answers at" in doctor(agent)[1]


def test_a_model_that_the_runtime_lacks(agent: AgentProcess, console: ConsoleForAgents, ollama: str) -> None:
    agent.configure(models=["llama3.1-8b", "qwen3"])
    serving(agent, console, ollama)
    assert "does not have qwen3" in doctor(agent)[1]


def test_files_open_to_others(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.start()
    console.wait_for(lambda: console.heartbeats)
    agent.terminate()
    agent.config_path.chmod(0o644)
    assert f"Run `chmod 600 {agent.config_path}`" in doctor(agent)[1]
    (agent.state_dir / "state.json").chmod(0o644)
    code, said = doctor(agent)
    assert (code, "can be read by others: run `chmod 600" in said) == (1, True)


def test_a_wrong_agent_yaml_is_one_line(agent: AgentProcess) -> None:
    agent.configure(runtime="llamacpp")
    finished = agent.command("doctor", "--config", str(agent.config_path))
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "runtime: must be one of" in finished.stderr


def test_a_newer_agent_is_pointed_out(agent: AgentProcess, console: ConsoleForAgents) -> None:
    console.newest_agent = {
        "version": "99.1",
        "name": "jatevo_agent-99.1-py3-none-any.whl",
        "sha256": "0" * 64,
    }
    assert "99.1 is out" in doctor(agent)[1]
    console.newest_agent = {
        "version": "1.9.9",
        "name": "jatevo_agent-1.9.9-py3-none-any.whl",
        "sha256": "0" * 64,
    }
    assert "is out" not in doctor(agent)[1]


def test_refused_receipts_are_shown_with_the_newest_reason(agent: AgentProcess) -> None:
    agent.state_dir.mkdir(mode=0o700)
    spool = Spool(agent.state_dir / "spool.sqlite")
    for number, reason in ((1, "first"), (2, "too old")):
        spool.add(f"r_{number}", b"{}")
        spool.settle([], [Refusal(number, 422, reason)])
    spool.close()
    config = load_config(agent.config_path, {})
    found = receipts_finding(config, take_snapshot(config))
    assert found.verdict is Verdict.WARNING
    assert found.fix == "The newest refusal: 422 too old"


def test_an_agent_older_than_the_installed_one_should_be_restarted(agent: AgentProcess) -> None:
    config = load_config(agent.config_path, {})
    snapshot = replace(take_snapshot(config), is_running=True, agent_version="1.1.0")
    running, service = running_findings(snapshot, BY_HAND)
    assert (running.verdict, running.fix) == (Verdict.WARNING, "Restart it: `jatevo-agent run`.")
    assert "does not start again with the machine" in service.text


@pytest.mark.parametrize(
    ("console_url", "endpoint", "verdict"),
    [
        ("https://console.example", "http://192.168.1.7:11435", Verdict.WARNING),
        ("https://console.example", "http://127.0.0.1:11435", Verdict.WARNING),
        ("https://console.example", "http://[fe80::1]:11435", Verdict.WARNING),
        ("https://console.example", "http://8.8.8.8:11435", Verdict.OK),
        ("https://console.example", "https://node.example", Verdict.OK),
        ("http://127.0.0.1:8000", "http://127.0.0.1:11435", Verdict.OK),
    ],
)
def test_an_endpoint_that_nobody_else_can_reach(
    agent: AgentProcess, console_url: str, endpoint: str, verdict: Verdict
) -> None:
    agent.configure(console=console_url, endpoint=endpoint)
    assert endpoint_finding(load_config(agent.config_path, {})).verdict is verdict


def test_the_report_can_be_pasted(agent: AgentProcess, console: ConsoleForAgents, ollama: str) -> None:
    agent.configure(
        wallet={"chain": "solana", "address": "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"},
        gateway_keys=["jvg-a-key-that-nobody-may-see"],
        endpoint="http://8.8.4.4:11435",
        green_energy_proof_url="https://8.8.4.4/someone@example.org",
    )
    serving(agent, console, ollama)
    token = console.nodes["macbook-001"].node_token
    agent.config_path.with_name("agent.log").write_text(
        f"Bearer {token} from 8.8.4.4 for someone@example.org https://user:secret@proxy.example/ {Path.home()}/x"
    )
    code, said = doctor(agent, "--report")
    assert code == 0
    for secret in (
        token,
        "jve_",
        "9xQe",
        "nobody-may-see",
        "8.8.4.4",
        "someone@",
        "user:secret",
        f"{Path.home()}/x",
    ):
        assert secret not in said.replace("jve_[redacted]", "")
    for kept in ("127.0.0.1", "macbook-001", "runtime: ollama", "~/x", "the last lines of agent.log"):
        assert kept in said


def test_a_journal_is_in_the_report_and_redacted_too(agent: AgentProcess) -> None:
    service = replace(BY_HAND, log_arguments=("echo", "token whsec_abc refused"))
    config = load_config(agent.config_path, {})
    said = report(agent.config_path, config, service, [])
    assert "token whsec_[redacted] refused" in said
    silent = replace(BY_HAND, log_arguments=("false",))
    assert "agent.log: none beside agent.yaml" in report(agent.config_path, config, silent, [])


def test_what_a_person_must_do_comes_with_the_command_to_start(agent: AgentProcess) -> None:
    snapshot = replace(take_snapshot(load_config(agent.config_path, {})), needs_a_person="Do this.")
    running, _ = running_findings(snapshot, BY_HAND)
    assert running.fix == "Do this. Then start it: `jatevo-agent run`."
    running, _ = running_findings(snapshot, replace(BY_HAND, name="launchd, for this user"))
    assert running.fix == "Do this."


def test_times_and_versions_survive_redaction(agent: AgentProcess) -> None:
    config = load_config(agent.config_path, {})
    text = "2026-11-29T00:41:51Z jatevo-agent 2.0.0 at [::1]:11435 and 10.0.0.7:11434"
    assert redacted(text, config, Path("/home/someone")) == text
    assert redacted("from 2001:4860:4860::8888 on", config, Path("/")) == "from [address] on"
    assert redacted("/home/someone-else", config, Path("/home/someone")) == "/home/someone-else"


def test_the_installed_service_is_found_with_its_commands(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    assert find_service(config, platform="linux", home=tmp_path).name == "none"
    (tmp_path / "agent.pid").write_text("7")
    assert "kill $(cat" in find_service(config, platform="linux", home=tmp_path).restart
    unit = tmp_path / ".config" / "systemd" / "user" / "jatevo-agent.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("")
    assert find_service(config, platform="linux", home=tmp_path).restart == (
        "systemctl --user restart jatevo-agent"
    )
    plist = tmp_path / "Library" / "LaunchAgents" / "net.jatevo.agent.plist"
    plist.parent.mkdir(parents=True)
    plist.write_text("")
    on_mac = find_service(config, platform="darwin", home=tmp_path)
    assert on_mac.restart.startswith("launchctl kickstart -k gui/")
