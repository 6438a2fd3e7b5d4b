"""The whole agent as a process, with a console that verifies every request."""

import socket
import sqlite3
import stat
import time
from contextlib import closing

import httpx
from agent_process import AgentProcess
from fake_console import ConsoleForAgents, LoseAnswer, error, free_port, most_within
from jatevo_agent.spool import SpoolCounts, read_counts
from jatevo_agent.wire.signing import verify_health

NONCE = "00112233445566778899aabbccddeeff"
# The agent ends within two seconds. A busy machine gets more, but less than the ten seconds after which the agent
# gives up on an answer: an agent that waits for the console is found.
SOON_SECONDS = 6.0


def counts(agent: AgentProcess) -> SpoolCounts:
    found = read_counts(agent.state_dir / "spool.sqlite")
    assert found is not None
    return found


def waiting_receipts(agent: AgentProcess) -> dict[str, bytes]:
    with closing(sqlite3.connect(agent.state_dir / "spool.sqlite")) as connection:
        return dict(connection.execute("SELECT request_id, body FROM spooled"))


def test_registers_beats_answers_probes_and_delivers(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.start("--simulate", "20")
    console.wait_for(lambda: len(console.receipts) >= 10 and len(console.heartbeats) >= 2)
    node = console.nodes["macbook-001"]
    assert node.registration["runtime"] == "ollama"
    assert node.registration["endpoint"] == f"http://{agent.config['listen']}"
    assert node.registration["attest"]["hardware_hash"].startswith("blake3:")
    metrics = console.heartbeats[-1]["metrics"]
    assert metrics["uptime"] > 0
    assert metrics.get("gpu_util") is None or 0 <= metrics["gpu_util"] <= 1
    assert 0 < metrics["mem_used_ratio"] < 1
    assert console.heartbeats[-1]["models"] == ["llama3.1-8b"]
    assert console.heartbeats[-1]["endpoint"].startswith("http://127.0.0.1:")

    answer = httpx.get(f"{node.registration['endpoint']}/healthz", params={"nonce": NONCE}, trust_env=False)
    assert answer.status_code == 200
    assert verify_health("macbook-001", NONCE, answer.json()["signature"], node.public_key)

    assert agent.terminate() < SOON_SECONDS
    assert console.refused_signatures == []
    assert "heartbeat" not in agent.log.replace("no heartbeat", "")  # calm: accepted heartbeats make no line
    assert "whsec_" not in agent.log
    assert "jve_" not in agent.log


def test_state_is_for_the_owner_only(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.start("--simulate", "20")
    console.wait_for(lambda: console.heartbeats and console.receipts)
    agent.terminate()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in agent.state_dir.iterdir()}
    assert stat.S_IMODE(agent.state_dir.stat().st_mode) == 0o700
    assert {"state.json", "status.json", "spool.sqlite", "lock"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_a_state_file_that_others_can_read_stops_the_start(
    agent: AgentProcess, console: ConsoleForAgents
) -> None:
    agent.start()
    console.wait_for(lambda: console.heartbeats)
    agent.terminate()
    (agent.state_dir / "state.json").chmod(0o640)
    agent.start()
    assert agent.wait() == 2
    assert "can be read by others" in agent.log
    assert "chmod 600" in agent.log


def test_a_restart_keeps_key_and_token(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.start()
    console.wait_for(lambda: console.heartbeats)
    agent.terminate()
    agent.configure(enrollment_token=None)
    seen = len(console.heartbeats)
    agent.start()
    console.wait_for(lambda: len(console.heartbeats) > seen)
    assert len(console.bodies("register")) == 1
    timestamps = [heartbeat["ts"] for heartbeat in console.heartbeats]
    assert timestamps == sorted(set(timestamps))


def test_kill_9_under_load_loses_and_doubles_nothing(agent: AgentProcess, console: ConsoleForAgents) -> None:
    """Four kills, every second one while the console is down, to hit both sending and spooling."""
    for attempt in range(4):
        if attempt % 2:
            console.stop()
        before = counts(agent).completed_total if attempt else 0
        agent.start("--simulate", "150")
        if attempt % 2:
            spooled_up_to(agent, before + 60)
        else:
            console.wait_for_more_receipts(60)
        agent.kill()
        left = waiting_receipts(agent)
        assert attempt % 2 == 0 or len(left) >= 60
        if attempt % 2:
            console.start()
    agent.start("--simulate", "0")
    completed = counts(agent).completed_total
    console.wait_for(lambda: len(console.receipts) == completed)
    agent.terminate()

    assert len(console.inserts) == len(set(console.inserts)) == completed
    assert counts(agent) == SpoolCounts(spooled=0, refused=0, completed_total=completed)
    for request_id, body in left.items():
        assert console.receipts["macbook-001", request_id] == body


def spooled_up_to(agent: AgentProcess, completed: int) -> None:
    """Wait for another process's spool to grow, which only its file shows."""
    deadline = time.monotonic() + 20
    with closing(sqlite3.connect(agent.state_dir / "spool.sqlite", timeout=10)) as connection:
        while (connection.execute("SELECT max(seq) FROM spooled").fetchone()[0] or 0) < completed:
            assert time.monotonic() < deadline, "the spool does not grow"
            time.sleep(0.02)


def test_an_outage_delays_and_loses_nothing(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.start("--simulate", "100")
    console.wait_for(lambda: len(console.receipts) >= 20)
    console.stop()
    spooled_up_to(agent, counts(agent).completed_total + 50)
    console.start()
    console.wait_for(lambda: len(console.receipts) >= 100)
    agent.terminate()
    total = counts(agent)
    assert len(console.receipts) + total.spooled >= total.completed_total
    assert len(console.inserts) == len(set(console.inserts))
    assert "receipts are delivered again" in agent.log


def test_stops_quickly_while_the_console_is_down(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.start("--simulate", "50")
    console.wait_for(lambda: console.receipts)
    console.stop()
    spooled_up_to(agent, counts(agent).completed_total + 20)
    assert agent.terminate() < SOON_SECONDS
    assert counts(agent).spooled > 0
    assert "receipts_waiting=" in agent.log


def test_stops_quickly_while_the_console_does_not_answer(
    agent: AgentProcess, console: ConsoleForAgents
) -> None:
    agent.start()
    console.wait_for(lambda: console.heartbeats)
    agent.terminate()
    console.stop()
    with socket.create_server(console.address):  # takes connections and says nothing
        agent.start("--simulate", "50")
        spooled_up_to(agent, 20)
        assert agent.terminate() < SOON_SECONDS
    assert counts(agent).spooled >= 20
    assert "Traceback" not in agent.log


def test_stops_quickly_before_registration(agent: AgentProcess, console: ConsoleForAgents) -> None:
    console.next("register", *[error(503, "unavailable")] * 50)
    agent.start()
    console.wait_for(lambda: console.posts)
    assert agent.terminate() < SOON_SECONDS


def test_a_second_agent_on_one_state_folder_gives_up(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.start()
    console.wait_for(lambda: console.heartbeats)
    second = agent.command_of_its_own("run", "--config", str(agent.config_path))
    assert second.returncode == 3
    assert "Another jatevo-agent is running" in second.stderr


def test_a_taken_listen_address_is_one_sentence(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.configure(listen=console.url.removeprefix("http://"))
    agent.start()
    assert agent.wait() == 3
    assert "cannot be used" in agent.log
    assert "Traceback" not in agent.log
    assert console.posts == []


def test_a_lost_registration_is_explained_and_can_be_rescued(
    agent: AgentProcess, console: ConsoleForAgents
) -> None:
    console.next("register", LoseAnswer())
    agent.start()
    assert agent.wait() == 2
    assert "may be registered with this agent's key already" in agent.log
    assert "node_token" in agent.log

    agent.configure(node_token=console.nodes["macbook-001"].node_token)
    agent.start("--simulate", "20")
    console.wait_for(lambda: console.heartbeats and console.receipts)
    assert console.refused_signatures == []  # it is the same key that the console took


def test_a_taken_node_id_ends_with_the_servers_words(agent: AgentProcess, console: ConsoleForAgents) -> None:
    console.add_node("macbook-001", bytes(32))
    agent.start()
    assert agent.wait() == 2
    assert "this node_id is taken" in agent.log
    assert "Traceback" not in agent.log


def test_status_prints_the_last_known_state(agent: AgentProcess, console: ConsoleForAgents) -> None:
    before = agent.status()
    assert before["registered"] is False
    assert before["last_heartbeat"] is None
    console.node_status = "active"
    agent.start("--simulate", "20")
    console.wait_for(lambda: console.receipts and len(console.heartbeats) >= 2)
    running = agent.status()
    agent.terminate()
    assert running["node_id"] == "macbook-001"
    assert running["registered"] is True
    assert running["refused"] == 0
    assert running["last_heartbeat"]["node_status"] == "active"
    assert running["last_heartbeat"]["at"].endswith("Z")
    assert agent.status()["completed_total"] >= len(console.receipts) > 0
    assert "private" not in str(running)


def test_fault_forged_signature(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.start("--simulate", "20", "--fault", "forged-signature")
    console.wait_for(lambda: len(console.refused_signatures) >= 5)
    assert console.receipts == {}
    assert len(console.refused_signatures) == len(set(console.refused_signatures))  # not retried
    agent.terminate()
    assert counts(agent).refused >= 5


def test_fault_bad_health(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.start("--simulate", "20", "--fault", "bad-health")
    console.wait_for(lambda: console.receipts)
    node = console.nodes["macbook-001"]
    answer = httpx.get(f"{node.registration['endpoint']}/healthz", params={"nonce": NONCE}, trust_env=False)
    assert answer.status_code == 200
    assert not verify_health("macbook-001", NONCE, answer.json()["signature"], node.public_key)
    assert console.refused_signatures == []


def test_fault_silent(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.start("--simulate", "50", "--fault", "silent")
    console.wait_for(lambda: "macbook-001" in console.nodes)
    endpoint = console.nodes["macbook-001"].registration["endpoint"]
    for _ in range(50):
        assert httpx.get(f"{endpoint}/healthz?nonce={NONCE}", trust_env=False).status_code == 200
    agent.terminate()
    assert console.heartbeats == []
    assert console.bodies("receipts") == []


def test_receipts_reach_the_console_at_most_five_posts_a_second(
    agent: AgentProcess, console: ConsoleForAgents
) -> None:
    agent.start("--simulate", "300")
    console.wait_for(lambda: len(console.receipts) >= 600, timeout_seconds=30)
    agent.terminate()
    assert most_within((at for path, at, _ in console.posts if path == "receipts"), 1.0) <= 5


def test_commands_that_cannot_work_exit_2(agent: AgentProcess) -> None:
    missing = agent.command_of_its_own("run", "--config", str(agent.state_dir / "none.yaml"))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.rstrip().endswith("there is no such file")
    agent.configure(runtime="llamacpp", listen=f"127.0.0.1:{free_port()}")
    wrong = agent.command_of_its_own("run", "--config", str(agent.config_path))
    assert wrong.returncode == 2
    assert "runtime: must be one of ollama, vllm, tensorrtllm, tgi" in wrong.stderr
    agent.configure(runtime="ollama", models=[])
    idle = agent.command_of_its_own("run", "--config", str(agent.config_path), "--simulate", "1")
    assert idle.returncode == 2
    assert "models: is empty" in idle.stderr


def test_version(agent: AgentProcess) -> None:
    assert agent.command_of_its_own("version").stdout.strip() == "2.0.0"
