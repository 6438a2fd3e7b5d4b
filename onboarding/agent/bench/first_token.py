"""How much later the first token comes through the agent than from the runtime itself.

    python onboarding/agent/bench/first_token.py [ROUNDS]

A runtime that answers at once, a console and the agent run in three processes. In each round, the same streamed
completion is asked of the runtime and of the agent in turn, on connections that stay open. The agent's
heartbeats, receipts and their fsync go on as always.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "tests")]

from agent_process import AgentProcess  # noqa: E402
from fake_console import ConsoleForAgents, free_port  # noqa: E402
from fake_runtime import FakeRuntime  # noqa: E402
from jatevo_agent.wire.gateway_key import gateway_key  # noqa: E402
from jatevo_agent.wire.webhook import secret_of  # noqa: E402

ROUNDS = 500
WARM_UP = 50
BODY = json.dumps(
    {"model": "llama3.1", "stream": True, "messages": [{"role": "user", "content": "Say hello. " * 100}]}
)
FIRST = b'"Hel"'


def serve_runtime(port: int) -> None:
    """Serve a runtime until the process is terminated."""
    with FakeRuntime() as runtime:
        runtime.stop()
        runtime.port = port
        runtime.start()
        time.sleep(3600)


class Client:
    """Asks over one connection."""

    def __init__(self, port: int, key: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        self._asked = 0

    def first_token_ms(self) -> float:
        """Milliseconds from the request to the first token. Reads the answer to its end."""
        self._asked += 1
        self._headers["X-Jatevo-Request-Id"] = f"bench-{self._asked}"
        began = time.perf_counter()
        self._connection.request("POST", "/v1/chat/completions", BODY, self._headers)
        answer = self._connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {answer.read()!r}")
        read = b""
        while FIRST not in read:
            read += answer.read1(65536)
        took = (time.perf_counter() - began) * 1000
        answer.read()
        return took


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main(rounds: int) -> None:
    """Measure, and print the figures."""
    runtime_port = free_port()
    runtime = multiprocessing.get_context("spawn").Process(target=serve_runtime, args=(runtime_port,))
    runtime.start()
    with tempfile.TemporaryDirectory() as folder, ConsoleForAgents() as console:
        agent = AgentProcess(
            Path(folder),
            console=console.url,
            enrollment_token=console.enroll(),
            node_id="bench",
            region="eu-west",
            runtime="vllm",
            runtime_url=f"http://127.0.0.1:{runtime_port}",
            listen=f"127.0.0.1:{free_port()}",
            state_dir=str(Path(folder) / "state"),
        )
        agent.start()
        try:
            console.wait_for(lambda: console.heartbeats and console.heartbeats[-1]["models"], 30)
            key = gateway_key(secret_of(console.nodes["bench"].node_token))
            direct = Client(runtime_port)
            through = Client(int(agent.config["listen"].rpartition(":")[2]), key)
            pairs = [(direct.first_token_ms(), through.first_token_ms()) for _ in range(WARM_UP + rounds)]
            console.wait_for(lambda: len(console.receipts) == len(pairs), 60)
        finally:
            agent.end()
            runtime.terminate()
            runtime.join()
    report(pairs[WARM_UP:])


def report(pairs: list[tuple[float, float]]) -> None:
    """Print one line for each way, and one for the difference within each round."""
    ways = {
        "direct": [direct for direct, _ in pairs],
        "through the agent": [through for _, through in pairs],
        "added": [through - direct for direct, through in pairs],
    }
    print(f"time to the first token in ms, {len(pairs)} rounds, each asked in turn")
    for name, values in ways.items():
        print(f"{name:<18} median {statistics.median(values):6.2f}   p95 {percentile(values, 0.95):6.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
