"""Django admin for nodes: for reading, and for creating validators.

Nodes are quarantined and cleared on their pages.

Only admins can open Django admin (User.is_staff). They have every permission there.
"""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from guardian.admin import GuardedModelAdmin
from guardian.models import UserObjectPermission

from jatevo.accounts.models import User
from jatevo.accounts.permissions import user_of
from jatevo.audit.record import actor_of, record
from jatevo.web.admin import ReadOnlyAdmin
from jatevo.wire.names import name_problem
from nodes.actions import create_sender, rotate_sender_token
from nodes.models import (
    Challenge,
    Enrollment,
    FraudFinding,
    FraudRelation,
    Node,
    NodeChange,
    NodeKey,
    NodeTransition,
    Probe,
    Sender,
    Validator,
)


class NodeForm(forms.ModelForm):
    """The fields of a node that staff may change. Names are validated by the rule for names."""

    def clean_asn_hint(self) -> str:
        hint: str = self.cleaned_data["asn_hint"]
        if hint and (problem := name_problem(hint)):
            raise ValidationError(f"It {problem}.")
        return hint


@admin.register(Node)
class NodeAdmin(GuardedModelAdmin):
    """A node. "Object permissions" grants a single node to a viewer, such as a partner."""

    list_display = ("id", "org", "region", "runtime", "status", "last_heartbeat_at")
    list_filter = ("status", "region", "runtime")
    search_fields = ("id",)
    form = NodeForm
    fields = ("id", "org", "region", "runtime", "status", "status_reason", "asn_hint", "green_energy")
    readonly_fields = ("id", "org", "region", "runtime", "status", "status_reason")

    def get_readonly_fields(self, request: HttpRequest, obj: Node | None = None) -> tuple[str, ...]:
        """The ASN is read-only if an ASN database is configured, because the next heartbeat would overwrite
        it.
        """
        return (*self.readonly_fields, "asn_hint") if settings.ASN_DATABASE else self.readonly_fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Node, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        _record_change(request, "node", obj, form)

    def obj_perms_manage_user_view(self, request: HttpRequest, object_pk: str, user_id: str) -> HttpResponse:
        """guardian's page, with an audit row for each change."""
        with transaction.atomic():
            before = _grants(object_pk, user_id)
            answer: HttpResponse = super().obj_perms_manage_user_view(request, object_pk, user_id)
            after = _grants(object_pk, user_id)
            if before != after:
                record(
                    "node.grant",
                    by=actor_of(user_of(request)),
                    subject_kind="node",
                    subject_id=object_pk,
                    person=str(User.objects.get(pk=user_id)),
                    granted=sorted(after - before),
                    taken=sorted(before - after),
                )
        return answer

    def obj_perms_manage_group_view(
        self, request: HttpRequest, object_pk: str, group_id: str
    ) -> HttpResponse:
        raise PermissionDenied  # there are no groups; permissions follow from the role


class SenderAdmin(admin.ModelAdmin):
    """Creating a validator or a gateway shows its token once. "New token" ends the old one."""

    token_variable: str  # the environment variable in which its program expects the token

    list_display = ("id", "is_active", "last_seen_at", "created_at")
    fields = ("id", "is_active", "networks", "last_seen_at")
    readonly_fields = ("last_seen_at",)
    actions = ("new_token",)

    def get_readonly_fields(self, request: HttpRequest, obj: Sender | None = None) -> tuple[str, ...]:
        return ("id", "last_seen_at") if obj else ("last_seen_at",)

    def save_model(self, request: HttpRequest, obj: Sender, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            _record_change(request, obj.kind, obj, form)
            return
        _, token = create_sender(
            type(obj), name=obj.pk, by=user_of(request), at=timezone.now(), networks=obj.networks
        )
        self._show(request, obj, token)

    @admin.action(description="Create new tokens for selected %(verbose_name_plural)s")
    def new_token(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        for sender in chosen:
            self._show(request, sender, rotate_sender_token(sender=sender, by=user_of(request)))

    def has_delete_permission(self, request: HttpRequest, obj: Sender | None = None) -> bool:
        return False  # what it sent is evidence, so it is made inactive instead

    def _show(self, request: HttpRequest, sender: Sender, token: str) -> None:
        self.message_user(
            request,
            f"Token of {sender.pk}, shown only once ({self.token_variable}): {token}",
            messages.WARNING,
        )


@admin.register(Validator)
class ValidatorAdmin(SenderAdmin):
    token_variable = "JATEVO_VALIDATOR_TOKEN"  # noqa: S105 - a name


@admin.register(NodeTransition)
class NodeTransitionAdmin(ReadOnlyAdmin):
    list_display = ("at", "node", "from_status", "to_status", "reason", "actor_id")
    list_filter = ("to_status", "reason")
    search_fields = ("node__id",)


@admin.register(NodeChange)
class NodeChangeAdmin(ReadOnlyAdmin):
    """Changes of what nodes state. "Hardware changed" finds nodes whose id moved to another machine."""

    list_display = ("at", "node", "hardware_changed", "changes")
    list_filter = ("hardware_changed",)
    search_fields = ("node__id",)


@admin.register(Probe)
class ProbeAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "node", "validator", "kind", "ok", "fault", "p95_ms", "detail")
    list_filter = ("kind", "ok", "fault", "validator")
    search_fields = ("node__id",)


@admin.register(Challenge)
class ChallengeAdmin(ReadOnlyAdmin):
    """What the console asked nodes through their heartbeats, and how they answered."""

    list_display = ("created_at", "node_id", "kind", "outcome", "fault", "answer_ms")
    list_filter = ("kind", "outcome")
    search_fields = ("node__id__exact",)
    show_full_result_count = False


@admin.register(NodeKey)
class NodeKeyAdmin(ReadOnlyAdmin):
    list_display = ("node", "valid_from", "valid_to", "added_by", "duplicate")
    list_filter = ("duplicate",)
    search_fields = ("node__id",)


@admin.register(FraudFinding)
class FraudFindingAdmin(ReadOnlyAdmin):
    """All findings of fraud. They are decided on the node's page."""

    list_display = ("opened_at", "node", "state", "cause", "opened_by", "decided_at", "decided_by", "page")
    list_filter = ("state", "cause")
    search_fields = ("node__id", "node__org__name")

    @admin.display(description="Decide")
    def page(self, finding: FraudFinding) -> str:
        return format_html('<a href="{}">Open</a>', reverse("nodes:fraud", args=[finding.node_id]))


@admin.register(FraudRelation)
class FraudRelationAdmin(ReadOnlyAdmin):
    """Nodes that are or were held because of fraud by another node."""

    list_display = ("related_at", "node", "finding", "ground", "value", "lifted_at", "lifted_by")
    list_filter = ("ground",)
    search_fields = ("node__id", "finding__node__id", "value")


@admin.register(Enrollment)
class EnrollmentAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "org", "created_by", "node_id", "uses_left", "expires_at")
    exclude = ("token_sha256",)


def _grants(node_id: str, user_id: str) -> set[str]:
    rows = UserObjectPermission.objects.filter(object_pk=node_id).values_list(
        "user_id", "permission__codename"
    )
    return {codename for granted_to, codename in rows if str(granted_to) == user_id}


def _record_change(request: HttpRequest, kind: str, changed: Node | Sender, form: Any) -> None:
    """Writes the audit row of an edit, in the transaction that Django admin has opened."""
    if form.changed_data:
        values = {name: form.cleaned_data[name] for name in form.changed_data}
        record(
            f"{kind}.edit", by=actor_of(user_of(request)), subject_kind=kind, subject_id=changed.pk, **values
        )
