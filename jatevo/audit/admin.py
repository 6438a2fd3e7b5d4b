"""Staff's view of the audit log."""

from django.contrib import admin
from django.http import HttpRequest

from jatevo.audit.models import AuditEvent


@admin.register(AuditEvent)
class AuditEventAdmin(admin.ModelAdmin):
    """Read and search; the database refuses the rest as well."""

    list_display = ("at", "actor_id", "verb", "subject_kind", "subject_id", "reason")
    list_filter = ("verb", "actor_kind")
    search_fields = ("subject_id", "actor_id", "request_id")
    date_hierarchy = "at"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEvent | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEvent | None = None) -> bool:
        return False
