"""The tables of nodes: identity, enrolments, heartbeats and probes, status history, reputation and fraud."""

from nodes.models.challenge import MAX_PROMPT_CHARACTERS, Challenge
from nodes.models.enrolment import Enrollment, EnrollmentQuerySet
from nodes.models.fraud import (
    FindingState,
    FraudCause,
    FraudFinding,
    FraudRelation,
    NodeMark,
    RelationGround,
)
from nodes.models.life import (
    Exemption,
    ExemptionKind,
    ExemptionQuerySet,
    NodeChange,
    NodeOffer,
    NodeTransition,
    PendingJudgement,
)
from nodes.models.model_names import NormalModel, OffersModel, normal_model_sql
from nodes.models.node import (
    NODE_ID_PATTERN,
    Node,
    NodeAttestation,
    NodeKey,
    NodeQuerySet,
    Runtime,
)
from nodes.models.observation import HeartbeatMinute, NodeHour, Probe, SweeperClock, Validator
from nodes.models.saved_view import SavedView
from nodes.models.sender import Sender
from nodes.models.standing import NodeStanding, ReputationClock, ReputationDay

__all__ = [
    "MAX_PROMPT_CHARACTERS",
    "NODE_ID_PATTERN",
    "Challenge",
    "Enrollment",
    "EnrollmentQuerySet",
    "Exemption",
    "ExemptionKind",
    "ExemptionQuerySet",
    "FindingState",
    "FraudCause",
    "FraudFinding",
    "FraudRelation",
    "HeartbeatMinute",
    "Node",
    "NodeAttestation",
    "NodeChange",
    "NodeHour",
    "NodeKey",
    "NodeMark",
    "NodeOffer",
    "NodeQuerySet",
    "NodeStanding",
    "NodeTransition",
    "NormalModel",
    "OffersModel",
    "PendingJudgement",
    "Probe",
    "RelationGround",
    "ReputationClock",
    "ReputationDay",
    "Runtime",
    "SavedView",
    "Sender",
    "SweeperClock",
    "Validator",
    "normal_model_sql",
]
