"""A real runtime for tests: llama.cpp's own server with SmolLM2 135M, in a process of its own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jatevo.local import model_server
from tests.browser.processes import LOOPBACK, Program, free_port, wait_until

UP_TIMEOUT_SECONDS = 100.0
MODEL = model_server.MODEL_ID


class RealRuntime:
    """Serves the model at `url`, in OpenAI's protocol. It can be killed and started again on the same port."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        command = [sys.executable, "-m", "jatevo.local.model_server", "--port", str(self.port)]
        self.program = Program("model", home, command, {})

    def start(self) -> None:
        """Start it, and return when it has loaded the model."""
        self.program.start()
        wait_until(self._is_up_or_dead, within_seconds=UP_TIMEOUT_SECONDS, what="the model is loaded")
        assert self.program.running(), f"the runtime ended at start:\n{self.program.last_words()}"

    def kill(self) -> None:
        self.program.kill()

    def _is_up_or_dead(self) -> bool:
        if not self.program.running():
            return True
        try:
            return httpx.get(f"{self.url}/v1/models", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def real_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRuntime]:
    if model_server.weights() is None:
        pytest.skip("no real runtime: the packages of the dependency group `model` are not installed")
    runtime = RealRuntime(tmp_path_factory.mktemp("model"))
    runtime.start()
    yield runtime
    runtime.kill()
