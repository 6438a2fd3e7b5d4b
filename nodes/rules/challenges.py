"""Which challenge a node is due, and how an answer is judged. Pure.

The console asks a node through the answers to its heartbeats where validators cannot ask it: it has no
endpoint, they do not reach it, or no validator has come.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nodes.rules.lifecycle import Phase
from nodes.rules.probes import ProbeFault

NONCE_BYTES = 16
# Validators have this long to come before the console asks a pending node itself.
VALIDATORS_FIRST = timedelta(seconds=20)
# Whether a node can be reached is left to the validators until they have not come for so long. They probe a node in
# service once a minute, and audit one in quarantine every ten.
VALIDATORS_AWAY = timedelta(minutes=15)
PENDING_EVERY = timedelta(seconds=10)
HEALTH_EVERY = timedelta(seconds=60)
AUDIT_EVERY = timedelta(hours=1)
QUARANTINE_AUDIT_EVERY = timedelta(minutes=10)
PROMPT = "Reply with the word: ready"  # what the console asks a runtime itself


def answer_within(kind: "ChallengeKind") -> timedelta:
    """How long an answer may take. Where an output is needed, the runtime may have to load its model first."""
    return timedelta(seconds=20 if kind is ChallengeKind.HEALTH else 60)


class ChallengeKind(StrEnum):
    """What a challenge counts as. A proof is asked for by the node's owner and makes a receipt."""

    HEALTH = "health"
    AUDIT = "audit"
    PROOF = "proof"

    @property
    def label(self) -> str:
        return self.value.capitalize()


class ChallengeOutcome(StrEnum):
    """How a challenge ended."""

    OPEN = "open"
    PASSED = "passed"
    FAILED = "failed"
    EXPIRED = "expired"  # no answer in time
    VOID = "void"  # not to be blamed on anybody: the console was away, or the node could not be asked

    @property
    def label(self) -> str:
        return {"open": "Open", "passed": "Passed", "failed": "Failed", "expired": "Not answered"}.get(
            self.value, "Void"
        )


@dataclass(frozen=True)
class AskedNode:
    """What decides whether a node is due a challenge.

    `probed_at` is the last health probe or audit by a validator, `challenged_at` the last challenge, `audited_at`
    the last challenge that was an audit.
    """

    phase: Phase
    fraud: bool
    endpoint: str
    reachable: bool | None
    probing_since: datetime | None
    probed_at: datetime | None
    audited_at: datetime | None
    challenged_at: datetime | None
    proof_waiting: bool


def due_challenge(node: AskedNode, *, at: datetime) -> ChallengeKind | None:
    """The challenge to send with the answer to a heartbeat that has just come. None: none.

    A proof that waits goes first. A node whose endpoint validators reach gets no other.
    """
    if node.proof_waiting:
        return ChallengeKind.PROOF
    if not _beyond_validators(node, at):
        return None
    asked_ago = at - node.challenged_at if node.challenged_at else None
    if node.phase is Phase.PROBING:
        return ChallengeKind.HEALTH if asked_ago is None or asked_ago >= PENDING_EVERY else None
    if asked_ago is not None and asked_ago < HEALTH_EVERY:
        return None
    audit_every = AUDIT_EVERY if node.phase is Phase.ACTIVE else QUARANTINE_AUDIT_EVERY
    audit_due = node.audited_at is None or at - node.audited_at >= audit_every
    if node.phase is Phase.ACTIVE:
        return ChallengeKind.AUDIT if audit_due else ChallengeKind.HEALTH
    # audits do not end a quarantine for fraud, so none is due
    return ChallengeKind.AUDIT if node.phase is Phase.QUARANTINE and audit_due and not node.fraud else None


def asks_runtime(kind: ChallengeKind, phase: Phase) -> bool:
    """Whether the challenge has a prompt. In service, only audits and proofs do, to spare the machine."""
    return kind is not ChallengeKind.HEALTH or phase is Phase.PROBING


def answer_fault(
    kind: ChallengeKind, *, signed: bool, signed_by_former_key: bool, has_output: bool
) -> ProbeFault | None:
    """What is wrong with an answer that came in time. None: it passes.

    An audit and a proof need an output of the runtime. Its absence is an outage of the node and no false answer.
    A former key is no false answer either, because the agent may not know yet that its key was changed.
    """
    if not signed:
        return ProbeFault.BAD_STATUS if signed_by_former_key else ProbeFault.BAD_SIGNATURE
    if kind is not ChallengeKind.HEALTH and not has_output:
        return ProbeFault.BAD_STATUS
    return None


def _beyond_validators(node: AskedNode, at: datetime) -> bool:
    if not node.endpoint or node.reachable is False:
        return True
    if node.phase is not Phase.PROBING or node.probing_since is None:
        away = node.probed_at is None or at - node.probed_at >= VALIDATORS_AWAY
        return node.reachable is None and away
    came = node.probed_at is not None and node.probed_at >= node.probing_since
    return not came and at - node.probing_since >= VALIDATORS_FIRST
