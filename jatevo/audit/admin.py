"""Staff's view of the audit log."""

from django.contrib import admin

from jatevo.audit.models import AuditEvent
from jatevo.web.admin import ReadOnlyAdmin


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Read and search; the database refuses the rest as well."""

    list_display = ("at", "actor_id", "verb", "subject_kind", "subject_id", "reason")
    list_filter = ("verb", "actor_kind")
    search_fields = ("subject_id", "actor_id", "request_id")
    date_hierarchy = "at"
