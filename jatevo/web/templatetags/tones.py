"""One label, one icon and one tone for each status word that the console shows."""

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """The `.tone-*` classes of the stylesheet."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    IDLE = "idle"
    INFO = "info"


@dataclass(frozen=True)
class Chip:
    label: str
    icon: str
    tone: Tone


CHIPS: dict[str, Chip] = {
    # a node's status (PRD §8.2)
    "pending": Chip("Pending", "pending", Tone.IDLE),
    "active": Chip("Active", "active", Tone.OK),
    "quarantine": Chip("Quarantine", "quarantine", Tone.WARN),
    "offline": Chip("Offline", "offline", Tone.BAD),
    # an incident's severity
    "info": Chip("Info", "info", Tone.INFO),
    "warn": Chip("Warning", "warning", Tone.WARN),
    "major": Chip("Major", "warning", Tone.BAD),
    # a receipt's verification
    "valid": Chip("Valid", "valid", Tone.OK),
    "invalid": Chip("Invalid", "invalid", Tone.BAD),
    "unverified": Chip("Not verified", "unknown", Tone.IDLE),
    # what becomes of a receipt
    "payable": Chip("Payable", "check", Tone.OK),
    "held": Chip("Held", "clock", Tone.WARN),
    "excluded": Chip("Excluded", "cross", Tone.BAD),
    # how far the amount of a period has come
    "running": Chip("Running", "clock", Tone.INFO),
    "settling": Chip("Not final", "clock", Tone.IDLE),
    "final": Chip("Final", "check", Tone.OK),
    "ready": Chip("Ready", "wallet", Tone.INFO),
    "part_paid": Chip("Partly paid out", "wallet", Tone.INFO),
    "paid": Chip("Paid out", "check", Tone.OK),
}

# the state of a step or a check
STEPS: dict[str, Chip] = {
    "done": Chip("Done", "check", Tone.OK),
    "current": Chip("In progress", "clock", Tone.INFO),
    "todo": Chip("Not yet", "pending", Tone.IDLE),
    "failed": Chip("Failed", "cross", Tone.BAD),
    "attention": Chip("Needs attention", "warning", Tone.WARN),
}

ALERT_ICONS: dict[Tone, str] = {
    Tone.OK: "active",
    Tone.WARN: "warning",
    Tone.BAD: "warning",
    Tone.IDLE: "info",
    Tone.INFO: "info",
}
