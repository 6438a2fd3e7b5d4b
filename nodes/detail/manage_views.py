"""Views for managing one node. A GET shows what would happen and asks; only a POST acts."""

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from jatevo.accounts.permissions import Permission, require, user_of
from nodes.access.versions import plain_version
from nodes.actions import (
    NodeError,
    clear,
    confirm_fraud,
    end_maintenance,
    quarantine,
    recompute_reputation,
    rotate_token,
    share,
    start_maintenance,
    suspect,
    unshare,
)
from nodes.detail.forms import FraudForm, MaintenanceForm, ReasonForm, SharingForm, TokenForm
from nodes.detail.fraud import fraud_view
from nodes.detail.metrics_tab import spell_duration
from nodes.detail.tabs import Tab
from nodes.detail.views import seen
from nodes.figures import standing_figures
from nodes.maintenance import current_maintenance, maintenance_left
from nodes.models import Node
from nodes.rules.lifecycle import Status

ASK_AND_ACT = ["GET", "HEAD", "POST"]
_FRAUD_DECISIONS: dict[str, tuple[Callable[..., object], str]] = {
    "open": (suspect, "finding of fraud opened."),
    "confirm": (confirm_fraud, "fraud confirmed."),
    "clear": (clear, "finding cleared. The node must pass its probe again."),
}


@require_http_methods(ASK_AND_ACT)
@require(Permission.QUARANTINE_NODES)
def quarantine_node(request: HttpRequest, name: str) -> HttpResponse:
    """Asks for a reason, then quarantines the node."""
    return _moderate(request, name, quarantine, "nodes/detail/quarantine.html", "is in quarantine.")


@require_http_methods(ASK_AND_ACT)
@require(Permission.QUARANTINE_NODES)
def clear_node(request: HttpRequest, name: str) -> HttpResponse:
    """Asks for a reason, then ends the quarantine."""
    return _moderate(
        request, name, clear, "nodes/detail/clear.html", "is cleared. It must pass its probe again."
    )


@require_http_methods(ASK_AND_ACT)
@require(Permission.QUARANTINE_NODES)
def fraud_of_node(request: HttpRequest, name: str) -> HttpResponse:
    """The findings of fraud about a node and the nodes they concern.

    A POST opens, confirms or clears a finding.
    """
    node, now = seen(request, name)[0], timezone.now()
    form = FraudForm(request.POST or None, now=now)
    decide = _FRAUD_DECISIONS.get(request.POST.get("decision", ""))
    if request.method == "POST" and form.is_valid():
        if decide is None:
            form.add_error(None, "Choose what to do.")
        else:
            action, done = decide
            answers = form.cleaned_data
            doubt = {"doubtful_from": answers["doubtful_from"]} if action is suspect else {}
            try:
                action(node=node, by=user_of(request), reason=answers["reason"], at=now, **doubt)
            except NodeError as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, f"{node.pk}: {done}")
                return redirect("nodes:fraud", node.pk)
    fraud = fraud_view(node)
    context = {
        "node": node,
        "form": form,
        "fraud": fraud,
        "form_title": "Decide" if fraud.open else "Open a finding",
    }
    return render(request, "nodes/detail/fraud.html", context, status=422 if form.errors else 200)


@never_cache
@require_http_methods(ASK_AND_ACT)
@require(Permission.MANAGE_NODES)
def rotate_node_token(request: HttpRequest, name: str) -> HttpResponse:
    """Asks for a reason, then shows the new token once."""
    node = _managed(request, name)
    form = TokenForm(request.POST or None)
    token = ""
    if request.method == "POST" and form.is_valid():
        try:
            token = rotate_token(
                node=node, by=user_of(request), at=timezone.now(), reason=form.cleaned_data["reason"]
            )
        except NodeError as error:
            form.add_error(None, str(error))
    context = {"node": node, "form": form, "token": token}
    return render(request, "nodes/detail/rotate_token.html", context, status=422 if form.errors else 200)


@require_http_methods(ASK_AND_ACT)
@require(Permission.MANAGE_NODES)
def maintain_node(request: HttpRequest, name: str) -> HttpResponse:
    """Announces maintenance, from now or later. If there already is some, shows it and how to end it."""
    node, now = _managed(request, name), timezone.now()
    form = MaintenanceForm(request.POST or None, now=now)
    if request.method == "POST" and form.is_valid():
        answers = form.cleaned_data
        try:
            start_maintenance(
                node=node,
                message=answers["message"],
                starts_at=answers["starts_at"],
                until=answers["until"],
                by=user_of(request),
                at=now,
            )
        except NodeError as error:
            form.add_error(None, str(error))
        else:
            when = "scheduled" if answers["starts_at"] and answers["starts_at"] > now else "under way"
            messages.success(request, f"Maintenance of {node.pk} is {when}.")
            return _back(node)
    context = {
        "node": node,
        "form": form,
        "maintenance": current_maintenance(node, at=now),
        "left": spell_duration(max(0.0, maintenance_left(node, at=now).total_seconds())),
        "now": now,
    }
    return render(request, "nodes/detail/maintenance.html", context, status=422 if form.errors else 200)


@require_POST
@require(Permission.MANAGE_NODES)
def end_node_maintenance(request: HttpRequest, name: str) -> HttpResponse:
    """Ends maintenance that is under way, or withdraws announced maintenance."""
    node = _managed(request, name)
    try:
        end_maintenance(node=node, by=user_of(request), at=timezone.now())
    except NodeError as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, f"Maintenance of {node.pk} has ended. Missing heartbeats count again.")
    return _back(node)


@require_http_methods(ASK_AND_ACT)
@require(Permission.MANAGE_NODES)
def share_node(request: HttpRequest, name: str) -> HttpResponse:
    """Shows what viewers and visitors would see, then shares the node or stops sharing it."""
    node = _managed(request, name)
    form = SharingForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        sharing = form.cleaned_data["shared"] == "yes"
        try:
            (share if sharing else unshare)(node=node, by=user_of(request), at=timezone.now())
        except NodeError as error:
            form.add_error(None, str(error))
        else:
            done = "is shared under its pseudonym." if sharing else "is no longer shared."
            messages.success(request, f"{node.pk} {done}")
            return _back(node)
    figures = standing_figures(getattr(node, "standing", None), at=timezone.now())
    attestation = getattr(node, "attestation", None)
    context = {
        "node": node,
        "form": form,
        "figures": figures,
        "agent_version": plain_version(node.agent_version),
        "driver_version": plain_version(attestation.driver_version) if attestation else "",
        "cuda_version": plain_version(attestation.cuda_version) if attestation else "",
    }
    return render(request, "nodes/detail/sharing.html", context, status=422 if form.errors else 200)


@require_POST
@require(Permission.MANAGE_NODES)
def recompute_node_reputation(request: HttpRequest, name: str) -> HttpResponse:
    """Recomputes the reputation now instead of within five minutes."""
    node = _managed(request, name)
    score = recompute_reputation(node=node, by=user_of(request), at=timezone.now())
    said = "is not known yet, because there is no evidence" if score is None else f"is {score}"
    messages.success(request, f"The reputation of {node.pk} {said}.")
    return _back(node, Tab.REPUTATION)


def _moderate(
    request: HttpRequest, name: str, action: Callable[..., None], template: str, done: str
) -> HttpResponse:
    node, _ = seen(request, name)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            action(node=node, by=user_of(request), reason=form.cleaned_data["reason"], at=timezone.now())
        except NodeError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{node.pk} {done}")
            return _back(node)
    context = {"node": node, "form": form, "in_quarantine": node.status == Status.QUARANTINE}
    return render(request, template, context, status=422 if form.errors else 200)


def _managed(request: HttpRequest, name: str) -> Node:
    """The node, if the person manages it. 404 if they cannot see it, 403 if they can only see it."""
    node, rights = seen(request, name)
    if not rights.manage:
        raise PermissionDenied
    return node


def _back(node: Node, tab: Tab | None = None) -> HttpResponse:
    page = reverse("nodes:detail", args=[node.pk])
    return redirect(f"{page}?tab={tab}" if tab else page)
