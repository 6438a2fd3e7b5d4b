"""The form of Run a Node, from whose answers `agent.yaml` is made."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from jatevo.accounts.models import User
from jatevo.accounts.org_choice import OrgChoiceField
from jatevo.wire.endpoints import endpoint_problem, is_loopback
from jatevo.wire.names import (
    NODE_ID_PATTERN,
    REGION_PATTERN,
    RESERVED_NODE_IDS,
    distinct_models,
    name_problem,
)
from nodes.models import Enrollment, Node, Runtime
from onboarding.agent_config import HEALTH_PORT, AgentConfig, Platform

# Suggested in addition to the regions of existing nodes.
COMMON_REGIONS = ("ap-southeast", "ap-northeast", "eu-central", "eu-west", "us-east", "us-west")
WALLET_CHAINS = ("solana", "ethereum", "base")
_MAX_MODELS = 50
_MAX_NUMBER = 999


@dataclass(frozen=True)
class PlatformCard:
    """The card of a platform, and its presets."""

    platform: Platform
    label: str
    description: str
    runtime: Runtime
    name_prefix: str
    icon: str


PLATFORMS: dict[Platform, PlatformCard] = {
    card.platform: card
    for card in (
        PlatformCard(
            Platform.MAC,
            "Mac",
            "Apple silicon with Ollama, kept running by launchd.",
            Runtime.OLLAMA,
            name_prefix="macbook",
            icon="laptop",
        ),
        PlatformCard(
            Platform.LINUX,
            "Linux",
            "Any 64-bit machine with Ollama, kept running by systemd.",
            Runtime.OLLAMA,
            name_prefix="linux",
            icon="server",
        ),
        PlatformCard(
            Platform.NVIDIA,
            "NVIDIA",
            "A GPU server with vLLM, TensorRT-LLM or TGI.",
            Runtime.VLLM,
            name_prefix="gpu",
            icon="chip",
        ),
    )
}


class EnrolForm(forms.Form):
    """The node's id, place and set-up. `user` decides which organisations can be chosen."""

    platform = forms.ChoiceField(
        choices=[(each.value, each.value) for each in Platform], widget=forms.HiddenInput
    )
    org = OrgChoiceField()
    node_id = forms.CharField(
        label="Node ID",
        required=False,
        max_length=64,
        validators=[
            RegexValidator(
                rf"^{NODE_ID_PATTERN}\Z", "Use 1 to 64 characters from a-z, 0-9, dot, underscore and hyphen."
            )
        ],
        help_text="Cannot be changed later. Leave it empty, and the agent derives one from the machine's name.",
    )
    region = forms.CharField(
        label="Region",
        max_length=32,
        validators=[
            RegexValidator(rf"^{REGION_PATTERN}\Z", "Use 1 to 32 characters from a-z, 0-9 and hyphen.")
        ],
        widget=forms.TextInput(attrs={"list": "regions"}),
        help_text="Where the machine is, for example ap-southeast.",
    )
    runtime = forms.ChoiceField(label="Runtime", choices=Runtime.choices)
    runtime_url = forms.CharField(
        label="Runtime address",
        required=False,
        max_length=300,
        help_text="Only if it does not listen at its usual port on this machine.",
    )
    models = forms.CharField(
        label="Models",
        required=False,
        max_length=2000,
        help_text="Leave it empty to offer every model of the runtime, or name some, separated by commas.",
    )
    endpoint = forms.CharField(
        label="Public address",
        required=False,
        max_length=300,
        help_text=f"Where validators and gateways reach this machine, for example http://203.0.113.7:{HEALTH_PORT}."
        " Leave it empty if it is behind a router: the node becomes active, but gets no traffic until it is reachable.",
    )
    wallet_chain = forms.ChoiceField(
        label="Wallet chain", required=False, choices=[(each, each.capitalize()) for each in WALLET_CHAINS]
    )
    wallet_address = forms.CharField(
        label="Wallet address",
        required=False,
        max_length=128,
        validators=[
            RegexValidator(
                r"^[A-Za-z0-9:_.-]+$", "A wallet address can only contain letters, digits and : _ . -"
            )
        ],
        help_text="Where earnings are paid.",
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not user.is_admin:
            del self.fields["org"]
        self.user = user

    def clean_node_id(self) -> str:
        node_id: str = self.cleaned_data["node_id"]
        # The API also reveals that an id is taken (409 node_exists), so this reveals nothing more.
        if node_id in RESERVED_NODE_IDS:
            raise ValidationError("This ID is reserved. Choose another one.")
        if node_id and Node.objects.filter(pk=node_id).exists():
            raise ValidationError("A node with this ID already exists. Choose another one.")
        return node_id

    def clean_models(self) -> tuple[str, ...]:
        names = [name for name in (each.strip() for each in self.cleaned_data["models"].split(",")) if name]
        if len(names) > _MAX_MODELS:
            raise ValidationError(f"At most {_MAX_MODELS} models.")
        for name in names:
            if problem := name_problem(name):
                raise ValidationError(f"The name of a model {problem}.")
        return distinct_models(names)

    def clean_endpoint(self) -> str:
        endpoint: str = self.cleaned_data["endpoint"].strip().rstrip("/")
        if endpoint and (problem := endpoint_problem(endpoint)):
            raise ValidationError(f"The endpoint {problem}.")
        return endpoint

    def clean_runtime_url(self) -> str:
        url: str = self.cleaned_data["runtime_url"].strip().rstrip("/")
        if url and (problem := endpoint_problem(url)):
            raise ValidationError(f"The address {problem}.")
        return url

    def clean(self) -> dict[str, Any]:
        """Without a chosen organisation, the node is enrolled for the person's own."""
        if "org" not in self.fields:
            self.cleaned_data["org"] = self.user.org
            if self.user.org is None:
                raise ValidationError(
                    "You do not belong to an organisation, so the node would have no owner."
                )
        return self.cleaned_data


def initial_answers(platform: Platform, *, user: User, console_host: str) -> dict[str, Any]:
    """The form's initial values: a free node id, the region of the org's newest node, the usual runtime."""
    card = PLATFORMS[platform]
    newest = Node.objects.filter(org_id=user.org_id).order_by("-created_at").first() if user.org_id else None
    return {
        "platform": platform,
        "org": user.org_id,
        "node_id": suggest_node_id(card.name_prefix),
        "region": newest.region if newest else "",
        "runtime": card.runtime,
        # a console on the same machine (the one-machine run) can reach the agent on loopback
        "endpoint": f"http://127.0.0.1:{HEALTH_PORT}" if is_loopback(console_host) else "",
    }


def suggest_node_id(prefix: str) -> str:
    """The first of prefix-001, prefix-002 … that is neither taken nor enrolled. '' if there are too many."""
    taken = set(Node.objects.filter(pk__startswith=f"{prefix}-").values_list("pk", flat=True))
    taken |= set(
        Enrollment.objects.filter(node_id__startswith=f"{prefix}-").values_list("node_id", flat=True)
    )
    names = (f"{prefix}-{number:03}" for number in range(1, _MAX_NUMBER + 1))
    return next((name for name in names if name not in taken), "")


def region_suggestions() -> list[str]:
    """The regions of existing nodes, and common ones."""
    used = Node.objects.order_by().values_list("region", flat=True).distinct()
    return sorted({*COMMON_REGIONS, *used})


def config_of(answers: dict[str, Any], *, console: str, token: str, registered: bool) -> AgentConfig:
    """The `agent.yaml` for a set of answers. `registered`: a node has already registered with them."""
    return AgentConfig(
        console=console,
        enrollment_token=token,
        node_id=answers.get("node_id", ""),
        region=answers.get("region", ""),
        runtime=answers.get("runtime", ""),
        endpoint=answers.get("endpoint", ""),
        runtime_url=answers.get("runtime_url", ""),
        models=tuple(answers.get("models", ())),
        wallet_chain=answers.get("wallet_chain", ""),
        wallet_address=answers.get("wallet_address", ""),
        registered=registered,
    )


def config_of_node(node: Node, *, console: str) -> AgentConfig:
    """The `agent.yaml` of a registered node, from the console's records."""
    return AgentConfig(
        console=console,
        enrollment_token="",
        node_id=node.pk,
        region=node.region,
        runtime=node.runtime,
        endpoint=node.endpoint,
        models=tuple(node.models_offered),
        concurrency=node.concurrency,
        wallet_chain=node.wallet_chain,
        wallet_address=node.wallet_address,
        registered=True,
    )
