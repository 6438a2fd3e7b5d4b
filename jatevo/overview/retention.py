"""How long the network's hours are kept: as long as the rollups that they were summed up from."""

from jatevo.metrics.retention_policy import RetentionRule, old_rows, register
from jatevo.overview.models import RegionHour

register(RetentionRule("overview_regionhour", "rollups", old_rows(RegionHour, "hour")))
