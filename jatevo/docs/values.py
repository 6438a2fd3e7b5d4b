"""What `{{ name }}` stands for in a page: thresholds and settings of this console, and whole tables.

They come from the code and the settings that decide, so that the Docs cannot disagree with them.
"""

from collections.abc import Callable

from django.conf import settings

from earnings.rules.own_merits import LATE_AFTER
from jatevo.docs import generated
from jatevo.wire import schema
from nodes.ingress import assignments
from nodes.reputation import formula
from nodes.rules import lifecycle

_VALUES: dict[str, Callable[[], str]] = {
    "console": lambda: settings.BASE_URL,
    # lifecycle
    "heartbeat_interval": lambda: _duration(settings.HEARTBEAT_INTERVAL_SECONDS),
    "offline_after": lambda: _duration(settings.NODE_OFFLINE_AFTER_SECONDS),
    "probe_failures": lambda: str(lifecycle.PROBE_FAILURES_TO_QUARANTINE),
    "audits_to_clear": lambda: str(lifecycle.AUDITS_TO_CLEAR),
    "missed_share": lambda: f"{lifecycle.MISSED_SHARE_TO_QUARANTINE:.0%}",
    "missed_window": lambda: _duration(lifecycle.MISSED_WINDOW.total_seconds()),
    "slo_window": lambda: _duration(lifecycle.SLO_WINDOW.total_seconds()),
    "slo_least_probes": lambda: str(settings.SLO_LEAST_PROBES),
    "lifecycle_table": generated.lifecycle,
    # probes
    "health_every": lambda: _duration(assignments.HEALTH_EVERY.total_seconds()),
    "pending_health_every": lambda: _duration(assignments.PENDING_HEALTH_EVERY.total_seconds()),
    "latency_every": lambda: _duration(assignments.LATENCY_EVERY.total_seconds()),
    "audit_every": lambda: _duration(assignments.AUDIT_EVERY.total_seconds()),
    "quarantine_audit_every": lambda: _duration(assignments.QUARANTINE_AUDIT_EVERY.total_seconds()),
    "probe_faults_table": generated.probe_faults,
    # reputation
    "reputation_floor": lambda: str(lifecycle.REPUTATION_FLOOR),
    "reputation_days": lambda: str(formula.WINDOW_DAYS),
    "reputation_thin_days": lambda: str(formula.THIN_DAYS),
    "reputation_prior": lambda: str(formula.PRIOR),
    "reputation_table": generated.reputation_evidence,
    "maintenance_days": lambda: str(settings.MAINTENANCE_DAYS_PER_WINDOW),
    "latency_targets_table": generated.latency_targets,
    # the API
    "errors_table": generated.errors,
    "rate_limits_table": generated.rate_limits,
    "clock_tolerance": lambda: _duration(settings.CLOCK_TOLERANCE_SECONDS),
    "heartbeat_lead": lambda: _duration(settings.HEARTBEAT_LEAD_SECONDS),
    "max_body": lambda: _size(settings.MAX_BODY_BYTES),
    "max_batch_body": lambda: _size(settings.MAX_BATCH_BODY_BYTES),
    "enrolment_ttl": lambda: _duration(settings.ENROLLMENT_TTL.total_seconds()),
    "install_ttl": lambda: _duration(settings.INSTALL_CODE_TTL.total_seconds()),
    # receipts and earnings
    "receipt_table": generated.receipt_fields,
    "receipt_future": lambda: _duration(schema.MAX_FUTURE_SECONDS),
    "receipt_age": lambda: _duration(schema.MAX_AGE_SECONDS),
    "late_after": lambda: _duration(LATE_AFTER.total_seconds()),
    "figures": generated.figures,
}


def value(name: str) -> str:
    """The value as Markdown. Raises KeyError if there is none of that name."""
    return _VALUES[name]()


def every_value() -> frozenset[str]:
    """The names that pages can use."""
    return frozenset(_VALUES)


def _duration(seconds: float) -> str:
    """A span in the largest unit that gives a whole number: `5 minutes`. A single day is 24 hours."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0 and (unit, seconds) != ("day", 86400):
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"


def _size(count: int) -> str:
    return f"{count // 1024**2} MiB" if count % 1024**2 == 0 else f"{count // 1024} KiB"
