"""Django admin for incidents. They are resolved, not deleted; every change leaves an audit row."""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from jatevo.audit.record import actor_of, record
from jatevo.overview.models import Incident


@admin.register(Incident)
class IncidentAdmin(admin.ModelAdmin):
    fields = ["severity", "title", "description", "region", "created_at", "resolved_at"]
    readonly_fields = ["created_at"]
    list_display = ["title", "severity", "region", "created_at", "resolved_at"]
    list_filter = ["severity", ("resolved_at", admin.EmptyFieldListFilter), "region"]
    search_fields = ["title", "description"]
    actions = ["resolve"]

    def has_delete_permission(self, request: HttpRequest, obj: Incident | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Incident, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        record(
            "incident.change" if change else "incident.open",
            by=actor_of(request.user),
            subject_kind="incident",
            subject_id=str(obj.pk),
            fields=form.changed_data,
            title=obj.title,
        )

    @admin.action(description="Resolve the chosen incidents now", permissions=["change"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        now = timezone.now()
        with transaction.atomic():
            chosen = list(queryset.filter(resolved_at=None).select_for_update())
            for incident in chosen:
                incident.resolved_at = max(now, incident.created_at)  # the database's clock may be ahead
                incident.save(update_fields=["resolved_at"])
                record(
                    "incident.resolve",
                    by=actor_of(request.user),
                    subject_kind="incident",
                    subject_id=str(incident.pk),
                    title=incident.title,
                )
        self.message_user(request, f"{len(chosen)} resolved.")
