"""The pages of Run a Node: pick a platform, name the node, install the agent, watch it arrive."""

import hmac
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, require, user_of
from jatevo.web.fragments import page_or_fragment, wanted_fragment
from nodes.actions import NodeError, end_enrollment, enrol
from nodes.models import Enrollment, EnrollmentQuerySet, Node, Runtime
from nodes.rules.credentials import enrollment_digest, new_install_code
from nodes.rules.lifecycle import Status
from onboarding.agent_config import RUNTIME_URLS, Platform
from onboarding.agent_config import render as render_config
from onboarding.agent_wheel import agent_wheel
from onboarding.answers import answers_of, config_text
from onboarding.checklist import ChecklistStep, Signals, StepState, checklist, finished
from onboarding.commands import Download, by_hand, chores_of, in_a_container
from onboarding.forms import (
    PLATFORMS,
    EnrolForm,
    config_of_node,
    initial_answers,
    region_suggestions,
)
from onboarding.install.views import script_of
from onboarding.models import ProofRoute
from onboarding.progress import signals_of
from onboarding.proof.actions import ProofRefused, ask_for_proof, carry_out_in_background
from onboarding.proof.report import newest_proof

RECENT = 5
MOST_OPEN = 100
_FRAGMENTS = {"checklist": "checklist"}
# The answers that an enrolment stores for `agent.yaml`.
_KEPT = ("platform", "runtime_url", "models", "endpoint", "wallet_chain", "wallet_address")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.ENROL_NODES)
def start(request: HttpRequest) -> HttpResponse:
    """Steps 1 and 2. A valid POST creates the enrolment and shows its token once."""
    user = user_of(request)
    platform = _platform(request.POST.get("platform") or request.GET.get("platform"))
    form = None
    if request.method == "POST":
        form = EnrolForm(request.POST, user=user)
        if form.is_valid():
            try:
                return _enrol(request, form.cleaned_data, status=201)
            except NodeError as error:
                form.add_error(None, str(error))
    elif platform is not None:
        host = urlsplit(settings.BASE_URL).hostname or ""
        form = EnrolForm(initial=initial_answers(platform, user=user, console_host=host), user=user)
    context = {
        "cards": PLATFORMS.values(),
        "platform": platform,
        "platform_state": "done" if platform else "current",
        "name_state": "current" if platform else "todo",
        "form": form,
        "regions": region_suggestions() if form else [],
        "usual_runtime_url": RUNTIME_URLS[PLATFORMS[platform].runtime] if platform else "",
        "open": _manageable(user).good(timezone.now()).select_related("org", "created_by")[:MOST_OPEN],
        "recent": _manageable(user).exclude(last_node=None).select_related("last_node")[:RECENT],
    }
    return render(request, "onboarding/start.html", context, status=422 if form and form.errors else 200)


@require_GET
@require(Permission.ENROL_NODES)
def enrollment(request: HttpRequest, enrollment_id: UUID) -> HttpResponse:
    """Steps 3 and 4 of one enrolment, without the token. htmx polls only the checklist."""
    found = get_object_or_404(_manageable(user_of(request)).select_related("last_node"), pk=enrollment_id)
    return _enrollment_page(request, found)


@never_cache
@require_POST
@require(Permission.ENROL_NODES)
def renew(request: HttpRequest, enrollment_id: UUID) -> HttpResponse:
    """Creates a new enrolment with the same answers and a new token, and ends this one."""
    old = get_object_or_404(_manageable(user_of(request)).select_related("org"), pk=enrollment_id)
    answers = {**answers_of(old), "org": old.org}
    try:
        return _enrol(request, answers, status=201, replaces=old)
    except NodeError as error:
        return _enrollment_page(request, old, token="", problem=str(error), status=409)


@require_POST
@require(Permission.ENROL_NODES)
def revoke(request: HttpRequest, enrollment_id: UUID) -> HttpResponse:
    """Ends an open enrolment."""
    user = user_of(request)
    found = get_object_or_404(_manageable(user), pk=enrollment_id)
    if end_enrollment(enrollment=found, by=user, at=timezone.now()):
        messages.success(request, f"The token for {found.node_id or 'a new node'} is revoked.")
    return redirect("onboarding:start")


@require_POST
@require(Permission.ENROL_NODES)
def prove(request: HttpRequest, enrollment_id: UUID) -> HttpResponse:
    """Sends one request through the node that registered with this enrolment."""
    user = user_of(request)
    found = get_object_or_404(_manageable(user), pk=enrollment_id)
    node = get_object_or_404(Node.objects.owned_by(user), pk=found.last_node_id or "")
    try:
        proof = ask_for_proof(node=node, by=user, at=timezone.now())
    except (NodeError, ProofRefused) as refused:
        messages.error(request, str(refused))
    else:
        if proof.route == ProofRoute.ENDPOINT:
            carry_out_in_background(proof)
    return redirect(
        f"{reverse('onboarding:enrollment', args=[found.pk])}?platform={_platform_of(request, found)}"
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.ENROL_NODES)
def config_file(request: HttpRequest, enrollment_id: UUID) -> HttpResponse:
    """`agent.yaml` as a download.

    It has the token only if the form posts it, since the console does not store it.
    """
    found = get_object_or_404(_manageable(user_of(request)), pk=enrollment_id)
    token = request.POST.get("token", "")
    if not hmac.compare_digest(enrollment_digest(token), bytes(found.token_sha256)):
        token = ""
    text = config_text(found, token)
    return _download(text.encode(), "agent.yaml", "application/yaml")


@never_cache
@require_GET
@require(Permission.MANAGE_NODES)
def node_config(request: HttpRequest, node_id: str) -> HttpResponse:
    """`agent.yaml` of a registered node, without its token, which is shown only once."""
    node = get_object_or_404(Node.objects.owned_by(user_of(request)), pk=node_id)
    text = render_config(config_of_node(node, console=settings.BASE_URL))
    return _download(text.encode(), "agent.yaml", "application/yaml")


def _enrol(
    request: HttpRequest, answers: dict[str, Any], *, status: int, replaces: Enrollment | None = None
) -> HttpResponse:
    """Creates the enrolment. Raises NodeError if it is refused."""
    code = new_install_code()
    made, token = enrol(
        org=answers["org"],
        by=user_of(request),
        at=timezone.now(),
        node_id=answers["node_id"],
        region=answers["region"],
        runtime=answers["runtime"],
        answers={key: answers[key] for key in _KEPT},
        replaces=replaces,
        install_code=code,
    )
    return _enrollment_page(request, made, token=token, code=code, status=status)


def _enrollment_page(
    request: HttpRequest,
    found: Enrollment,
    *,
    token: str = "",
    code: str = "",
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    now = timezone.now()
    platform = _platform_of(request, found)
    signals = signals_of(found, platform=platform)
    steps = checklist(signals, at=now)
    node = found.last_node
    until = found.install_expires_at
    context = {
        "enrollment": found,
        "node": node,
        "steps": steps,
        "finished": finished(steps),
        "receipt_url": _receipt_url(node, signals),
        "proof": newest_proof(node, at=now) if node else None,
        "may_prove": node is not None and node.status == Status.ACTIVE and bool(node.models_offered),
        "prove_url": f"{reverse('onboarding:prove', args=[found.pk])}?platform={platform}",
        "progress": _progress(steps),
        "command_until": until if until and until > now else None,
        "expired": node is None and found.expires_at <= now,
        "ended": node is None and found.ended_at is not None,
    }
    if wanted_fragment(request, _FRAGMENTS) is None:  # the checklist is polled every two seconds
        context |= _installation(found, platform, token=token, code=code)
        context |= {
            "problem": problem,
            "open": not token and Enrollment.objects.filter(pk=found.pk).good(now).exists(),
            "checklist_url": f"{reverse('onboarding:enrollment', args=[found.pk])}?platform={platform}",
        }
    return page_or_fragment(
        request, "onboarding/enrollment.html", context, fragments=_FRAGMENTS, status=status
    )


def _installation(found: Enrollment, platform: Platform, *, token: str, code: str) -> dict[str, Any]:
    """The command, the script, agent.yaml and the steps by hand. The agent's wheel is built for them."""
    download = _download_of_agent()
    return {
        "token": token,
        "command": f"curl -fsSL {_script_url(code)} | sh" if code else "",
        "script": script_of(found, code) if code else None,
        "script_url": _script_url(code) if code else "",
        "cards": PLATFORMS.values(),
        "platform": PLATFORMS[platform],
        "config": config_text(found, token),
        "by_hand": by_hand(platform, download),
        "in_a_container": in_a_container(download) if platform is Platform.NVIDIA else "",
        "chores": chores_of(platform),
    }


def _progress(steps: list[ChecklistStep]) -> str:
    """The checklist in a sentence, for screen readers."""
    done = [step.name for step in steps if step.state in (StepState.DONE, StepState.ATTENTION)]
    failed = [
        f"{step.name} failed. {step.hint.text}"
        for step in steps
        if step.state is StepState.FAILED and step.hint
    ]
    return " ".join([f"{len(done)} of {len(steps)} done{': ' + done[-1] if done else ''}.", *failed])


def _receipt_url(node: Node | None, signals: Signals) -> str:
    """The page of the node's first receipt, or ''."""
    if node is None or signals.node is None or not signals.node.first_receipt_id:
        return ""
    return reverse("receipts:detail", args=[node.pk, signals.node.first_receipt_id])


def _manageable(user: User) -> EnrollmentQuerySet:
    """The enrolments that the person may see and end, newest first.

    One whose node has moved to another organisation is not among them: its page shows that node.
    """
    own = Q(last_node=None) | Q(last_node__in=Node.objects.owned_by(user))
    return Enrollment.objects.manageable_by(user).filter(own).order_by("-created_at")


def _script_url(code: str) -> str:
    return f"{settings.BASE_URL}{reverse('install:script', args=[code])}"


def _download_of_agent() -> Download:
    wheel = agent_wheel()
    url = f"{settings.BASE_URL}{reverse('install:wheel', args=[wheel.name])}"
    return Download(settings.BASE_URL, url, wheel.sha256, wheel.least_python)


def _platform(text: str | None) -> Platform | None:
    return Platform(text) if text in set(Platform) else None


def _platform_of(request: HttpRequest, found: Enrollment) -> Platform:
    """The platform in the URL, or the one chosen for this enrolment, or a guess from its runtime."""
    chosen = _platform(request.GET.get("platform")) or _platform(answers_of(found)["platform"])
    guess = Platform.MAC if found.runtime in ("", Runtime.OLLAMA) else Platform.NVIDIA
    return chosen or guess


def _download(content: bytes, name: str, media_type: str) -> HttpResponse:
    response = HttpResponse(content, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
