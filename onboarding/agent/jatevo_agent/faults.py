"""Misbehaviours on request, for testing that a console notices them."""

from enum import StrEnum


class Fault(StrEnum):
    """What the agent does wrong, given as `--fault`."""

    FORGED_SIGNATURE = "forged-signature"
    """Receipts bear a well-formed ed25519 signature by a key that is not the node's."""

    BAD_HEALTH = "bad-health"
    """`/healthz` answers with a signature by a key that is not the node's."""

    SILENT = "silent"
    """Registers, and then sends neither heartbeats nor receipts."""
