"""The gateway's figures in Prometheus' text format, since the agent's start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .. import __version__

if TYPE_CHECKING:
    from .exchange import Exchange

_BOUNDS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Figures:
    """Counts requests. Used in the event loop only."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._tokens_input = 0
        self._tokens_output = 0
        self._first_tokens = [0] * (len(_BOUNDS_SECONDS) + 1)
        self._first_tokens_seconds = 0.0

    def refused(self, reason: str) -> None:
        """Count a request that was not served."""
        self._refusals[reason] += 1

    def ended(self, exchange: Exchange, *, recorded: bool) -> None:
        """Count a request that was served. `recorded` is whether its receipt is on disk."""
        if exchange.outcome is None:
            self._outcomes["refused"] += 1
        else:
            self._outcomes[exchange.outcome.value if recorded else "unrecorded"] += 1
        if recorded and exchange.completion is not None:
            self._tokens_input += exchange.completion.tokens_input
            self._tokens_output += exchange.completion.tokens_output
        if exchange.first_token_ms is not None:
            seconds = exchange.first_token_ms / 1000
            self._first_tokens_seconds += seconds
            self._first_tokens[sum(seconds > bound for bound in _BOUNDS_SECONDS)] += 1

    def text(self, *, running: int, most: int, runtime_up: bool | None) -> str:
        """The figures, one metric after another."""
        return "\n".join(self._lines(running, most, runtime_up)) + "\n"

    def _lines(self, running: int, most: int, runtime_up: bool | None) -> Iterator[str]:
        yield from _metric("info", "gauge", "The agent's version.", [(f'{{version="{__version__}"}}', 1)])
        if runtime_up is not None:
            yield from _metric("runtime_up", "gauge", "Whether the runtime answers.", [("", int(runtime_up))])
        yield from _metric("requests_running", "gauge", "Requests under way.", [("", running)])
        yield from _metric("requests_limit", "gauge", "Requests that are served at once.", [("", most)])
        yield from _metric(
            "requests_total",
            "counter",
            "Requests served, by the outcome of their receipt. Those `refused` by the runtime and those "
            "`unrecorded` have none.",
            _labelled("outcome", self._outcomes),
        )
        yield from _metric(
            "refusals_total",
            "counter",
            "Requests not served, by reason.",
            _labelled("reason", self._refusals),
        )
        yield from _metric(
            "tokens_input_total", "counter", "Prompt tokens on receipts.", [("", self._tokens_input)]
        )
        yield from _metric(
            "tokens_output_total", "counter", "Output tokens on receipts.", [("", self._tokens_output)]
        )
        yield from _metric(
            "first_token_seconds", "histogram", "Time to the first output.", self._first_token_samples()
        )

    def _first_token_samples(self) -> Iterator[tuple[str, float]]:
        total = 0
        for bound, count in zip(_BOUNDS_SECONDS, self._first_tokens):
            total += count
            yield f'_bucket{{le="{bound:g}"}}', total
        total += self._first_tokens[-1]
        yield '_bucket{le="+Inf"}', total
        yield "_sum", round(self._first_tokens_seconds, 6)
        yield "_count", total


def _labelled(label: str, counts: Counter[str]) -> list[tuple[str, float]]:
    return [(f'{{{label}="{value}"}}', count) for value, count in sorted(counts.items())]


def _metric(name: str, kind: str, about: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    full_name = f"jatevo_agent_{name}"
    yield f"# HELP {full_name} {about}"
    yield f"# TYPE {full_name} {kind}"
    for suffix, value in samples:
        yield f"{full_name}{suffix} {value}"
