"""The only code that writes to the tables of nodes.

Each function is one verb with keyword-only arguments. It writes its audit row in the transaction of the
change.
"""

from nodes.actions.answering import (
    ChallengeAnswer,
    SentAnswer,
    TakenAnswer,
    answer_challenge,
    pass_challenges,
)
from nodes.actions.challenges import ask, expire_challenge, expired_challenges
from nodes.actions.enrolment import Registration, end_enrollment, enrol, register
from nodes.actions.errors import (
    AnsweredAlready,
    AnsweredTooLate,
    EnrollmentInvalid,
    EnrollmentMismatch,
    KeyExists,
    NodeError,
    NodeExists,
    NotPossible,
    ReplayedProbe,
    RowLocked,
    StaleHeartbeat,
    TokenEnded,
    UnknownChallenge,
    UnknownNode,
)
from nodes.actions.exemptions import (
    declare,
    end_maintenance,
    note_outage,
    start_maintenance,
    withdraw,
)
from nodes.actions.fraud import confirm_fraud, find_fraud, relate, suspect
from nodes.actions.heartbeat import Beat, SentBeat, TakenHeartbeat, heartbeat, heartbeats
from nodes.actions.keys import add_key, rotate_token
from nodes.actions.moderation import clear, quarantine
from nodes.actions.moving import move
from nodes.actions.probing import Measurement, record_probe
from nodes.actions.reputation import judge_pending, recompute, recompute_days, recompute_reputation
from nodes.actions.senders import create_sender, rotate_sender_token
from nodes.actions.sharing import share, unshare
from nodes.actions.statements import Statement
from nodes.actions.transition import happen

__all__ = [
    "AnsweredAlready",
    "AnsweredTooLate",
    "Beat",
    "ChallengeAnswer",
    "EnrollmentInvalid",
    "EnrollmentMismatch",
    "KeyExists",
    "Measurement",
    "NodeError",
    "NodeExists",
    "NotPossible",
    "Registration",
    "ReplayedProbe",
    "RowLocked",
    "SentAnswer",
    "SentBeat",
    "StaleHeartbeat",
    "Statement",
    "TakenAnswer",
    "TakenHeartbeat",
    "TokenEnded",
    "UnknownChallenge",
    "UnknownNode",
    "add_key",
    "answer_challenge",
    "ask",
    "clear",
    "confirm_fraud",
    "create_sender",
    "declare",
    "end_enrollment",
    "end_maintenance",
    "enrol",
    "expire_challenge",
    "expired_challenges",
    "find_fraud",
    "happen",
    "heartbeat",
    "heartbeats",
    "judge_pending",
    "move",
    "note_outage",
    "pass_challenges",
    "quarantine",
    "recompute",
    "recompute_days",
    "recompute_reputation",
    "record_probe",
    "register",
    "relate",
    "rotate_sender_token",
    "rotate_token",
    "share",
    "start_maintenance",
    "suspect",
    "unshare",
    "withdraw",
]
