"""The pages of Run a Node: pick a platform, name the node, install the agent, watch it arrive."""

import hmac
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import quote_etag
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, require, user_of
from jatevo.web.fragments import page_or_fragment
from nodes.actions import NodeError, end_enrollment, enrol
from nodes.models import Enrollment, EnrollmentQuerySet, Node, Runtime
from nodes.rules.credentials import enrollment_digest
from onboarding.agent_archive import agent_archive
from onboarding.agent_config import Platform
from onboarding.agent_config import render as render_config
from onboarding.checklist import ChecklistStep, StepState, checklist, finished
from onboarding.forms import (
    PLATFORMS,
    EnrolForm,
    config_of,
    config_of_node,
    initial_answers,
    region_suggestions,
)
from onboarding.progress import signals_of
from onboarding.service_templates import Instructions, instructions

RECENT = 5
MOST_OPEN = 100
# The answers that an enrolment stores for `agent.yaml`.
_KEPT = ("platform", "models", "endpoint", "wallet_chain", "wallet_address")


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
        "open": _manageable(user).good(timezone.now()).select_related("org", "created_by")[:MOST_OPEN],
        "recent": _manageable(user).exclude(last_node=None).select_related("last_node")[:RECENT],
    }
    return render(request, "onboarding/start.html", context, status=422 if form and form.errors else 200)


@require_GET
@require(Permission.ENROL_NODES)
def enrollment(request: HttpRequest, enrollment_id: UUID) -> HttpResponse:
    """Steps 3 and 4 of one enrolment, without the token. htmx polls only the checklist."""
    found = get_object_or_404(_manageable(user_of(request)).select_related("last_node"), pk=enrollment_id)
    return _enrollment_page(request, found, token="")


@never_cache
@require_POST
@require(Permission.ENROL_NODES)
def renew(request: HttpRequest, enrollment_id: UUID) -> HttpResponse:
    """Creates a new enrolment with the same answers and a new token, and ends this one."""
    old = get_object_or_404(_manageable(user_of(request)).select_related("org"), pk=enrollment_id)
    answers = {**_answers(old), "org": old.org}
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
    text = _config_text(found, token)
    return _download(text.encode(), "agent.yaml", "application/yaml")


@never_cache
@require_GET
@require(Permission.MANAGE_NODES)
def node_config(request: HttpRequest, node_id: str) -> HttpResponse:
    """`agent.yaml` of a registered node, without its token, which is shown only once."""
    node = get_object_or_404(Node.objects.owned_by(user_of(request)), pk=node_id)
    text = render_config(config_of_node(node, console=settings.BASE_URL))
    return _download(text.encode(), "agent.yaml", "application/yaml")


@require_GET
@require(Permission.ENROL_NODES)
def service_file(request: HttpRequest, enrollment_id: UUID) -> HttpResponse:
    """The launchd or systemd file as a download."""
    found = get_object_or_404(_manageable(user_of(request)), pk=enrollment_id)
    service = _instructions(_platform_of(request, found)).service
    return _download(service.text.encode(), service.name, service.media_type)


@require_http_methods(["GET", "HEAD"])
def agent_zip(request: HttpRequest) -> HttpResponse:
    """The reference agent's source for pip. It is public, because pip sends no cookies."""
    archive = agent_archive()
    response = HttpResponse(archive.content, content_type="application/zip")
    response["ETag"] = quote_etag(archive.sha256)
    response["Cache-Control"] = "public, no-cache"
    response["Content-Disposition"] = 'attachment; filename="jatevo-agent.zip"'
    return response


def _enrol(
    request: HttpRequest, answers: dict[str, Any], *, status: int, replaces: Enrollment | None = None
) -> HttpResponse:
    """Creates the enrolment. Raises NodeError if it is refused."""
    made, token = enrol(
        org=answers["org"],
        by=user_of(request),
        at=timezone.now(),
        node_id=answers["node_id"],
        region=answers["region"],
        runtime=answers["runtime"],
        answers={key: answers[key] for key in _KEPT},
        replaces=replaces,
    )
    return _enrollment_page(request, made, token=token, status=status)


def _enrollment_page(
    request: HttpRequest, found: Enrollment, *, token: str, problem: str = "", status: int = 200
) -> HttpResponse:
    now = timezone.now()
    steps = checklist(signals_of(found), at=now)
    platform = _platform_of(request, found)
    node = found.last_node
    context = {
        "enrollment": found,
        "node": node,
        "token": token,
        "problem": problem,
        "cards": PLATFORMS.values(),
        "platform": PLATFORMS[platform],
        "config": _config_text(found, token),
        "instructions": _instructions(platform),
        "steps": steps,
        "finished": finished(steps),
        "progress": _progress(steps),
        "expired": node is None and found.expires_at <= now,
        "ended": node is None and found.ended_at is not None,
        "open": not token and Enrollment.objects.filter(pk=found.pk).good(now).exists(),
        "service_url": f"{reverse('onboarding:service', args=[found.pk])}?platform={platform}",
        "checklist_url": reverse("onboarding:enrollment", args=[found.pk]),
    }
    return page_or_fragment(
        request,
        "onboarding/enrollment.html",
        context,
        fragments={"checklist": "checklist"},
        status=status,
    )


def _progress(steps: list[ChecklistStep]) -> str:
    """The checklist in a sentence, for screen readers."""
    done = [step.name for step in steps if step.state is StepState.DONE]
    failed = [f"{step.name} failed. {step.hint}" for step in steps if step.state is StepState.FAILED]
    return " ".join([f"{len(done)} of {len(steps)} done{': ' + done[-1] if done else ''}.", *failed])


def _manageable(user: User) -> EnrollmentQuerySet:
    """The enrolments that the person may see and end, newest first."""
    return Enrollment.objects.manageable_by(user).order_by("-created_at")


def _answers(found: Enrollment) -> dict[str, Any]:
    """The answers stored with this enrolment. Those that were not asked (over the API) are empty."""
    kept = found.answers
    return {
        "platform": kept.get("platform", ""),
        "node_id": found.node_id,
        "region": found.region,
        "runtime": found.runtime,
        "models": kept.get("models", ()),
        "endpoint": kept.get("endpoint", ""),
        "wallet_chain": kept.get("wallet_chain", ""),
        "wallet_address": kept.get("wallet_address", ""),
    }


def _config_text(found: Enrollment, token: str) -> str:
    registered = found.last_node_id is not None and not found.uses_left
    answers = _answers(found)
    return render_config(config_of(answers, console=settings.BASE_URL, token=token, registered=registered))


def _instructions(platform: Platform) -> Instructions:
    url = f"{settings.BASE_URL}{reverse('onboarding:agent_zip')}#sha256={agent_archive().sha256}"
    return instructions(platform, agent_url=url)


def _platform(text: str | None) -> Platform | None:
    return Platform(text) if text in set(Platform) else None


def _platform_of(request: HttpRequest, found: Enrollment) -> Platform:
    """The platform in the URL, or the one chosen for this enrolment, or a guess from its runtime."""
    chosen = _platform(request.GET.get("platform")) or _platform(_answers(found)["platform"])
    guess = Platform.MAC if found.runtime in ("", Runtime.OLLAMA) else Platform.NVIDIA
    return chosen or guess


def _download(content: bytes, name: str, media_type: str) -> HttpResponse:
    response = HttpResponse(content, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
