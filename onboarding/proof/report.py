"""What became of the newest proof of a node, for the page. Reading changes nothing."""

from dataclasses import dataclass, replace
from datetime import datetime

from nodes.models import Challenge, Node
from nodes.rules.challenges import ChallengeOutcome
from onboarding.models import Proof, ProofRoute, ProofState
from onboarding.proof.actions import LOST_AFTER
from receipts.models import Receipt
from receipts.verify import verify


@dataclass(frozen=True)
class ProofReport:
    """A proof with its receipt. `receipt_valid` is None while there is no receipt yet.

    Times are in milliseconds. What is not known is None.
    """

    proof: Proof
    state: ProofState
    problem: str = ""
    first_token_ms: float | None = None
    total_ms: float | None = None
    tokens_output: int | None = None
    receipt: Receipt | None = None
    receipt_valid: bool | None = None


def newest_proof(node: Node, *, at: datetime) -> ProofReport | None:
    """The newest proof of the node, or None if it was never asked for one."""
    proof = Proof.objects.filter(node=node).order_by("-asked_at").first()
    if proof is None:
        return None
    report = (
        _through_heartbeat(proof) if proof.route == ProofRoute.HEARTBEAT else _through_endpoint(proof, at)
    )
    # a receipt is accepted after the request was sent, so this bound skips older partitions
    receipts = Receipt.objects.filter(node_id=node.pk, accepted_at__gte=proof.asked_at)
    receipt = receipts.filter(request_id=proof.request_id).first()
    return replace(report, receipt=receipt, receipt_valid=None if receipt is None else verify(receipt).valid)


def _through_endpoint(proof: Proof, at: datetime) -> ProofReport:
    if proof.state == ProofState.ASKED and at - proof.asked_at > LOST_AFTER:
        return ProofReport(proof, ProofState.FAILED, "The console was restarted meanwhile. Try again.")
    return ProofReport(
        proof,
        ProofState(proof.state),
        proof.problem,
        first_token_ms=proof.first_token_ms,
        total_ms=proof.total_ms,
        tokens_output=proof.tokens_output,
    )


def _through_heartbeat(proof: Proof) -> ProofReport:
    challenge = Challenge.objects.filter(node_id=proof.node_id, request_id=proof.request_id).first()
    if challenge is None:
        return ProofReport(proof, ProofState.FAILED, "The request is no longer known. Try again.")
    outcome = ChallengeOutcome(challenge.outcome)
    if outcome in _UNSERVED:
        return ProofReport(proof, ProofState.FAILED, _UNSERVED[outcome])
    return ProofReport(
        proof,
        ProofState.ASKED if outcome is ChallengeOutcome.OPEN else ProofState.ANSWERED,
        first_token_ms=challenge.first_token_ms,
        total_ms=challenge.answer_ms,
        tokens_output=challenge.tokens_output,
    )


_UNSERVED = {
    ChallengeOutcome.FAILED: "The agent answered, but its runtime did not. See its log.",
    ChallengeOutcome.EXPIRED: "The node did not answer in time.",
    ChallengeOutcome.VOID: "The node sent no heartbeat that could take the request along.",
}
