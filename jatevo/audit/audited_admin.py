"""A Django admin that writes an audit row for every change: who, what, and the values before and after.

It is for models that are changed only in the admin. If a model has actions, its admin page calls those, and
they write the audit row.
"""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from jatevo.audit.record import actor_of, record


class AuditedAdmin(admin.ModelAdmin):
    """Django calls log_addition, log_change or log_deletions for every change made in the admin.

    `unrecorded` names fields whose values are secret. The audit row says only that they changed.
    """

    unrecorded: tuple[str, ...] = ()

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> list[dict[str, Any]]:
        """Adds the values to the field names of Django's own message. Inlines keep Django's message."""
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
        """Runs bulk actions and their audit rows in one transaction, which Django does not do."""
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
    """Writes an audit row for each object that a bulk action is about to change.

    Must be called in the transaction of the action.
    """
    for obj in queryset:
        kind = obj._meta.model_name or ""
        record(verb, by=actor_of(request.user), subject_kind=kind, subject_id=str(obj.pk), what=str(obj))


def _plain(value: Any) -> Any:
    """The value in a form that JSON can hold."""
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
