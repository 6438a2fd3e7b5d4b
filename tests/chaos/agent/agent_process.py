"""The reference agent in its own process, to be killed and started again over the same state."""

import json
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import httpx

from tests.browser.processes import LOOPBACK, Program, free_port, wait_until

NODE_ID = "chaos-gateway"
KEY = "jvg_chaos-" + "k" * 40


class AgentProcess:
    def __init__(self, home: Path, *, console: str, runtime_port: int, enrolment: str) -> None:
        self.port = free_port()
        self._state = home / "state"
        entries = {
            "console": console,
            "enrollment_token": enrolment,
            "node_id": NODE_ID,
            "region": "eu-central",
            "runtime": "vllm",
            "runtime_url": f"http://{LOOPBACK}:{runtime_port}",
            "listen": f"{LOOPBACK}:{self.port}",
            "concurrency": 64,
            "gateway_keys": [KEY],
            "state_dir": str(self._state),
        }
        config = home / "agent.yaml"
        config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in entries.items()))
        config.chmod(0o600)
        command = [sys.executable, "-m", "jatevo_agent", "run", "--config", str(config)]
        self.program = Program("agent", home, command, {})

    def start(self) -> None:
        self.program.start()

    def wait_until_it_serves(self, seconds: float) -> None:
        wait_until(self._serves, within_seconds=seconds, what="the agent serves its model")

    def kill(self) -> None:
        """SIGKILL, and nothing else."""
        self.program.send(signal.SIGKILL)
        self.program.kill()
        wait_until(lambda: not self.program.running(), within_seconds=10, what="the agent has ended")

    def waiting(self) -> int:
        return self._count("spooled")

    def refused(self) -> list[str]:
        """The reasons why the console took a receipt not."""
        with closing(self._spool()) as spool:
            return [f"{row[0]} {row[1]}" for row in spool.execute("SELECT status, reason FROM refused")]

    def _count(self, table: str) -> int:
        with closing(self._spool()) as spool:
            return int(spool.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608

    def _spool(self) -> sqlite3.Connection:
        uri = f"{(self._state / 'spool.sqlite').as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=10)

    def _serves(self) -> bool:
        if not self.program.running():
            raise AssertionError(f"the agent ended:\n{self.program.last_words()}")
        try:
            answer = httpx.get(
                f"http://{LOOPBACK}:{self.port}/v1/models",
                headers={"Authorization": f"Bearer {KEY}"}, timeout=2, trust_env=False,
            )  # fmt: skip
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and bool(answer.json()["data"])
