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
}

# the state of a step or a check
STEPS: dict[str, Chip] = {
    "done": Chip("Done", "check", Tone.OK),
    "current": Chip("In progress", "clock", Tone.INFO),
    "todo": Chip("Not yet", "pending", Tone.IDLE),
    "failed": Chip("Failed", "cross", Tone.BAD),
}

ALERT_ICONS: dict[Tone, str] = {
    Tone.OK: "active",
    Tone.WARN: "warning",
    Tone.BAD: "warning",
    Tone.IDLE: "info",
    Tone.INFO: "info",
}
