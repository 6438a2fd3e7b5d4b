"""The reference agent as an operator runs it, with an `agent.yaml` in its own folder."""

import base64
import json
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from nacl.signing import SigningKey

from jatevo.wire.keys import public_key_text
from tests.browser.console import RunningConsole
from tests.browser.processes import LOOPBACK, Program, free_port, wait_until

START_TIMEOUT_SECONDS = 30.0
# Gives an agent for a node: agents("macbook-001") enrols it, agents("macbook-001", config) has the file.
MakeAgent = Callable[..., "AgentAtWork"]


class AgentAtWork:
    """One node's agent process. It has its own HOME, so that the file from the page works unchanged."""

    def __init__(self, home: Path, node_id: str, config: str) -> None:
        self.node_id = node_id
        path = home / "agent.yaml"
        path.write_text(config)
        path.chmod(0o600)
        self._state = home / ".jatevo" / node_id
        command = [sys.executable, "-m", "jatevo_agent", "run", "--config", str(path)]
        self.program = Program("agent", home, command, {})

    def start(self, *options: str) -> None:
        """Start it with options of `jatevo-agent run`. Returns when it answers, so that signals reach it."""
        started_before = self._starts()
        self.program.start(*options)
        wait_until(
            lambda: self._starts() > started_before or not self.program.running(),
            within_seconds=START_TIMEOUT_SECONDS,
            what="the agent answers",
        )
        assert self.program.running(), f"the agent ended at start:\n{self.program.last_words()}"

    def stop(self) -> int:
        """Send SIGTERM. Returns the exit code."""
        return self.program.stop()

    def freeze(self) -> None:
        """Suspend it, like a laptop: it stays alive and sends nothing."""
        self.program.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.program.send(signal.SIGCONT)

    def public_key(self) -> str:
        """The public key of the private key on the agent's disk."""
        seed = base64.b64decode(json.loads((self._state / "state.json").read_text())["private_key"])
        return public_key_text(bytes(SigningKey(seed).verify_key))

    def _starts(self) -> int:
        return self.program.log().count("answering validators")

    def spooled(self) -> dict[str, bytes]:
        """The receipts in the agent's spool, by request id."""
        uri = f"{(self._state / 'spool.sqlite').as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as spool:
            return dict(spool.execute("SELECT request_id, body FROM spooled"))

    def wait_until_delivered(self, *, within_seconds: float) -> None:
        """Wait until the spool is empty. Only for an agent that completes nothing new."""
        wait_until(lambda: not self.spooled(), within_seconds=within_seconds, what="the spool is empty")


def agent_yaml(console: RunningConsole, node_id: str, token: str, *, region: str, runtime: str) -> str:
    """The agent.yaml of an operator who enrols by script."""
    entries = {
        "console": console.url,
        "enrollment_token": token,
        "node_id": node_id,
        "region": region,
        "runtime": runtime,
        "models": ["llama3.1-8b", "qwen2.5-7b"],
        "listen": f"{LOOPBACK}:{free_port()}",
    }
    # JSON values are YAML values
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in entries.items())
