"""Deliberate faults, to test that a console notices them."""

from .wire.text_enum import TextEnum


class Fault(TextEnum):
    """A fault, given as `--fault`."""

    FORGED_SIGNATURE = "forged-signature"
    """Receipts have a well-formed ed25519 signature by a key that is not the node's."""

    BAD_HEALTH = "bad-health"
    """`/healthz` answers with a signature by a key that is not the node's."""

    SILENT = "silent"
    """The agent registers, and then sends neither heartbeats nor receipts."""
