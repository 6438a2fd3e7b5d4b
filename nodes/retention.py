"""How long heartbeats and measurements of nodes are kept."""

from jatevo.metrics.retention_policy import RetentionRule, old_rows, register
from nodes.models import Challenge, HeartbeatMinute, NodeHour, NodeOffer, Probe, ReputationDay

register(
    RetentionRule("nodes_probe", "probes", old_rows(Probe, "received_at")),
    RetentionRule("nodes_challenge", "probes", old_rows(Challenge, "created_at")),
    # the sweeper deletes these as it runs; this deletes what it may have left
    RetentionRule("nodes_heartbeatminute", "heartbeat_minutes", old_rows(HeartbeatMinute, "minute")),
    RetentionRule("nodes_nodeoffer", "receipts", old_rows(NodeOffer, "offered_until")),  # ended ones
    RetentionRule("nodes_nodehour", "reputation", old_rows(NodeHour, "hour")),
    RetentionRule("nodes_reputationday", "reputation", old_rows(ReputationDay, "day")),
)
