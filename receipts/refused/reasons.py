"""Why receipts are refused, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jatevo.web.templatetags.tones import Tone
from receipts.models import RefusalReason, RefusedReceipt


@dataclass(frozen=True)
class Told:
    """A reason's chip, and a sentence about a receipt refused for it."""

    label: str
    tone: Tone
    sentence: str


REASONS: Final[Mapping[RefusalReason, Told]] = {
    RefusalReason.FORGED: Told(
        RefusalReason.FORGED.label,
        Tone.BAD,
        "No key of the node, current or former, signed this receipt. That opens a finding of fraud.",
    ),
    RefusalReason.CONFLICT: Told(
        RefusalReason.CONFLICT.label,
        Tone.WARN,
        "The node had already handed in a different receipt with this request ID. The first one stands.",
    ),
    RefusalReason.WRONG_NODE: Told(
        RefusalReason.WRONG_NODE.label,
        Tone.WARN,
        "The receipt names a different node from the one that sent it.",
    ),
    RefusalReason.INVALID: Told(
        RefusalReason.INVALID.label, Tone.IDLE, "The receipt breaks a rule for its fields."
    ),
}


def told(reason: str) -> Told:
    """What is said of a stored reason."""
    return REASONS[RefusalReason(reason)]


def details_of(refused: RefusedReceipt) -> str:
    """What was wrong with a refused receipt: its fields, or what its reason says."""
    return refused.detail if refused.reason == RefusalReason.INVALID else told(refused.reason).sentence
