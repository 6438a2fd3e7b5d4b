"""Refuses chDB where there would be more than one process: it opens its folder from one only."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def chdb_is_for_one_process(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An error unless there is a ClickHouse server, or this is the one-machine run."""
    if settings.CLICKHOUSE_URL or settings.EMBEDDED:
        return []
    return [
        Error(
            "CLICKHOUSE_URL is not set, and chDB serves a single process only.",
            hint="Set CLICKHOUSE_URL to a ClickHouse server, or start the whole console with `make run`.",
            id="metrics.E001",
        )
    ]
