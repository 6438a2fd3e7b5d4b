"""How long refused messages are kept."""

from jatevo.bus.models import ParkedMessage
from jatevo.metrics.retention_policy import RetentionRule, old_rows, register

register(RetentionRule("bus_parkedmessage", "parked_messages", old_rows(ParkedMessage, "parked_at")))
