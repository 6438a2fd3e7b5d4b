"""System checks of the settings: chDB with several processes, a cluster without a server, and retention that is too
short.
"""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from jatevo.metrics.cluster import is_cluster_name


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


@register()
def a_cluster_can_be_named(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An error for a cluster that no statement can name, or that no server can know."""
    name = settings.CLICKHOUSE_CLUSTER
    if not name or (settings.CLICKHOUSE_URL and is_cluster_name(name)):
        return []
    return [
        Error(
            "CLICKHOUSE_CLUSTER needs CLICKHOUSE_URL, and a name of letters, digits and underscores.",
            hint="Name a cluster of the servers' remote_servers, or unset it to use one server.",
            id="metrics.E003",
        )
    ]


# How far back the console reads, and for receipts the 180 days that PRD §12 promises.
LEAST_DAYS = {
    "raw_minutes": (
        9,
        "receipts may be a week late, and the hours that they change are summed up from minutes",
    ),
    "rollups": (90, "the status page shows 90 days"),
    "receipts": (180, "receipts are promised for 180 days"),
    "exports": (1, "a file that is just written can be downloaded"),
    "probes": (1, "a node's page shows its last probes"),
    "reputation": (15, "reputations look back 14 days"),
    "heartbeat_minutes": (1, "missed heartbeats are counted over an hour"),
}


@register()
def nothing_needed_is_forgotten(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An error for each figure of RETENTION_DAYS that is too small."""
    return [
        Error(
            f"{name} are kept for {settings.RETENTION_DAYS[name]} days, and {least} is the least: {why}.",
            hint=f"Set JATEVO_KEEP_{name.upper()}_DAYS to {least} or more.",
            id="metrics.E002",
        )
        for name, (least, why) in LEAST_DAYS.items()
        if settings.RETENTION_DAYS[name] < least
    ]
