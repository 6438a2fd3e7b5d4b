"""The answers of Run a Node that an enrolment keeps, and the `agent.yaml` made of them."""

from typing import Any

from django.conf import settings

from nodes.models import Enrollment
from onboarding.agent_config import render
from onboarding.forms import config_of


def answers_of(enrollment: Enrollment) -> dict[str, Any]:
    """The answers stored with this enrolment. Those that were not asked (over the API) are empty."""
    kept = enrollment.answers
    return {
        "platform": kept.get("platform", ""),
        "node_id": enrollment.node_id,
        "region": enrollment.region,
        "runtime": enrollment.runtime,
        "runtime_url": kept.get("runtime_url", ""),
        "models": kept.get("models", ()),
        "endpoint": kept.get("endpoint", ""),
        "wallet_chain": kept.get("wallet_chain", ""),
        "wallet_address": kept.get("wallet_address", ""),
    }


def config_text(enrollment: Enrollment, token: str) -> str:
    """The file's text. Once a node has registered, the file needs no token and has none."""
    registered = enrollment.last_node_id is not None and not enrollment.uses_left
    answers = answers_of(enrollment)
    return render(config_of(answers, console=settings.BASE_URL, token=token, registered=registered))
