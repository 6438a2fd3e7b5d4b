"""The admin pages of the audit log and of background jobs, whose actions are audited."""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from procrastinate.contrib.django.admin import ProcrastinateEventInline, ProcrastinateJobAdmin
from procrastinate.contrib.django.models import ProcrastinateJob

from jatevo.audit.audited_admin import record_bulk
from jatevo.audit.models import AuditEvent
from jatevo.web.admin import ReadOnlyAdmin


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Staff can read and search the log. The database refuses changes too."""

    list_display = ("at", "actor_id", "verb", "subject_kind", "subject_id", "reason")
    list_filter = ("verb", "actor_kind")
    search_fields = ("subject_id", "actor_id", "request_id")
    date_hierarchy = "at"


class EventInline(ProcrastinateEventInline):
    """The history of a job, read only."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


admin.site.unregister(ProcrastinateJob)


@admin.register(ProcrastinateJob)
class JobAdmin(ProcrastinateJobAdmin):
    """Jobs are read only. Selected jobs can be retried, cancelled or aborted."""

    actions = ["retry", "cancel", "abort"]
    inlines = [EventInline]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, str] | None = None
    ) -> HttpResponse:
        with transaction.atomic():
            return super().changelist_view(request, extra_context)

    @admin.action(description="Retry selected jobs")
    def retry(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        record_bulk(request, queryset, "job.retry")
        super().retry(request, queryset)

    @admin.action(description="Cancel selected jobs that have not started")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        record_bulk(request, queryset, "job.cancel")
        super().cancel(request, queryset)

    @admin.action(description="Abort selected jobs, even while running")
    def abort(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        record_bulk(request, queryset, "job.abort")
        super().abort(request, queryset)
