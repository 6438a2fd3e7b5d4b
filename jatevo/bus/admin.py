"""The admin page of parked messages."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from jatevo.audit.record import actor_of
from jatevo.bus import actions
from jatevo.bus.judging import Fate
from jatevo.bus.models import ParkedMessage
from jatevo.web.admin import ReadOnlyAdmin
from jatevo.web.redaction import hide


@admin.register(ParkedMessage)
class ParkedMessageAdmin(ReadOnlyAdmin):
    """Messages of the event bus that were refused. Selected ones can be tried again."""

    list_display = ("parked_at", "kind", "sender", "error_type", "error_message", "tries", "state")
    list_filter = ("state", "kind", "error_type")
    search_fields = ("sender",)
    date_hierarchy = "parked_at"
    actions = ["try_selected_again"]
    fields = (
        "kind",
        "sequence",
        "stored_at",
        "parked_at",
        "sender",
        "shown_headers",
        "body_as_text",
        "size_bytes",
        "error_type",
        "error_message",
        "tries",
        "state",
        "taken_at",
    )

    @admin.display(description="Headers")
    def shown_headers(self, parked: ParkedMessage) -> str:
        """Without the signature, with which the message could be sent again."""
        return "\n".join(f"{name}: {value}" for name, value in hide(parked.headers).items())

    @admin.display(description="Body")
    def body_as_text(self, parked: ParkedMessage) -> str:
        return bytes(parked.body).decode(errors="replace")

    @admin.action(description="Try selected again")
    def try_selected_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for parked in queryset.order_by("pk"):
            try:
                verdict = actions.try_again(parked=parked, by=actor_of(request.user), at=timezone.now())
            except actions.CannotTryAgain as error:
                self.message_user(request, f"{parked}: {error}", messages.ERROR)
                continue
            if verdict.fate is Fate.TAKEN:
                self.message_user(request, f"{parked}: it is taken now.", messages.SUCCESS)
            else:
                self.message_user(request, f"{parked}: {verdict.error_message}", messages.ERROR)
