"""Django admin whose every change leaves an audit row: who, what, and the values before and after.

For models whose admin page is their only writer. Where a domain has actions, the page calls those, and they
leave the row themselves.
"""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from jatevo.audit.record import actor_of, record


class AuditedAdmin(admin.ModelAdmin):
    """Django calls log_addition, log_change and log_deletions for every way of changing a row here.

    `unrecorded` names fields whose values are secret: the row says that they changed, and no more.
    """

    unrecorded: tuple[str, ...] = ()

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> list[dict[str, Any]]:
        """Puts the values beside the names that Django's own message has; inlines come with theirs."""
        message: list[dict[str, Any]] = super().construct_change_message(request, form, formsets, add)
        inlines = [each for each in message if "name" in next(iter(each.values()), {})]
        return [{"changes": self._values(form, add)}, *({"inline": each} for each in inlines)]

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        self._record(request, obj, "add", message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        self._record(request, obj, "change", message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            self._record(request, obj, "delete", str(obj))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, str] | None = None
    ) -> HttpResponse:
        """Bulk actions and their rows are one transaction; Django opens one for single changes alone."""
        with transaction.atomic():
            return super().changelist_view(request, extra_context)

    def _values(self, form: Any, add: bool) -> dict[str, Any]:
        changed = form.fields if add else form.changed_data
        return {
            name: "(secret)"
            if name in self.unrecorded
            else [None if add else _plain(form.initial.get(name)), _plain(form.cleaned_data.get(name))]
            for name in changed
        }

    def _record(self, request: HttpRequest, obj: Model, verb: str, message: Any) -> None:
        model = obj._meta.model_name or ""
        record(
            f"{model}.{verb}",
            by=actor_of(request.user),
            subject_kind=model,
            subject_id=str(obj.pk),
            what=message,
        )


def record_bulk(request: HttpRequest, queryset: QuerySet[Any], verb: str) -> None:
    """A row for each object that a bulk action is about to change; call it in the action's transaction."""
    for obj in queryset:
        kind = obj._meta.model_name or ""
        record(verb, by=actor_of(request.user), subject_kind=kind, subject_id=str(obj.pk), what=str(obj))


def _plain(value: Any) -> Any:
    """As JSON has it."""
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
