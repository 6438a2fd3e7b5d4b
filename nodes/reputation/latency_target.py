"""The latency target of a node, for its reputation and for the SLO. It is global or set for its runtime."""

from typing import Any

import orjson
from django.conf import settings


def target_ms(runtime: str) -> float:
    """The highest p95 of a latency probe within the target, in milliseconds.

    It is set by JATEVO_P95_TARGETS_MS and JATEVO_P95_TARGET_MS.
    """
    own: float | None = settings.P95_TARGETS_MS.get(runtime)
    return settings.REPUTATION_P95_TARGET_MS if own is None else own


def target_sql(node: str) -> str:
    """The same as SQL, for an alias with a `runtime` column. Needs the parameters of `target_params`."""
    return f"COALESCE((%(targets_ms)s::jsonb ->> {node}.runtime)::float8, %(target_ms)s)"


def target_params() -> dict[str, Any]:
    return {
        "targets_ms": orjson.dumps(settings.P95_TARGETS_MS).decode(),
        "target_ms": settings.REPUTATION_P95_TARGET_MS,
    }
