"""How slow a node may answer: one target for its reputation and for the SLO, global or its runtime's own."""

from typing import Any

import orjson
from django.conf import settings


def target_ms(runtime: str) -> float:
    """What a latency probe's p95 may be, in milliseconds (JATEVO_P95_TARGETS_MS, JATEVO_P95_TARGET_MS)."""
    own: float | None = settings.P95_TARGETS_MS.get(runtime)
    return settings.REPUTATION_P95_TARGET_MS if own is None else own


def target_sql(node: str) -> str:
    """The same of an alias with a `runtime`, with `target_params`."""
    return f"COALESCE((%(targets_ms)s::jsonb ->> {node}.runtime)::float8, %(target_ms)s)"


def target_params() -> dict[str, Any]:
    return {
        "targets_ms": orjson.dumps(settings.P95_TARGETS_MS).decode(),
        "target_ms": settings.REPUTATION_P95_TARGET_MS,
    }
