"""What to type when a runtime does not answer or offers no model."""

from __future__ import annotations

from .config import Runtime

_HINTS = {
    Runtime.OLLAMA: "Start it with `ollama serve` (or the Ollama app), and get a model: `ollama pull llama3.1`.",
    Runtime.VLLM: "Start it, for example with `vllm serve <model> --host 127.0.0.1 --port 8000`.",
    Runtime.TENSORRT_LLM: "Start it, for example with `trtllm-serve <model> --host 127.0.0.1 --port 8000`.",
    Runtime.TGI: "Start it, for example with `text-generation-launcher --model-id <model> --port 8080`.",
}


def runtime_hint(runtime: Runtime) -> str:
    """One sentence that names the command."""
    return _HINTS[runtime]
