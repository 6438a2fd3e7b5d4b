"""Django admin for earnings: rates and policies, which are only added, and the ledger, which is only read.

A rate or policy never changes. To change what holds, one adds a row with a later date; the page of each row
offers to add one like it. Until its date has come, a row can be deleted.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError, ProgrammingError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString

from earnings.models import (
    ExportFile,
    Item,
    JtvoRate,
    ModelLimit,
    Movement,
    Payment,
    Payout,
    Policy,
    Rate,
    Wallet,
)
from earnings.models.prices import LEAST_NOTICE_MINUTES, HoldsFrom
from earnings.rules.pricing import discount_problem, jtvo_problem, price_problem
from earnings.rules.schedule import PayoutInterval, schedule_problem
from jatevo.accounts.permissions import user_of
from jatevo.accounts.step_up import step_up_required
from jatevo.audit.audited_admin import AuditedAdmin
from jatevo.audit.record import actor_of
from jatevo.web.admin import ReadOnlyAdmin
from jatevo.wire.names import name_problem, normal_model


class DatedForm(forms.ModelForm):
    """A row that holds from a date. The date lies ahead, unless nothing has been accrued yet."""

    def clean_holds_from(self) -> Any:
        holds_from = self.cleaned_data["holds_from"]
        earliest = timezone.now() + timedelta(minutes=LEAST_NOTICE_MINUTES)
        if holds_from < earliest and Item.objects.exists():
            raise ValidationError(
                f"It must hold from a moment at least {LEAST_NOTICE_MINUTES} minutes from now,"
                " because what has been accrued already keeps its rates and policies."
            )
        return holds_from

    def clean_model(self) -> str:
        name = str(self.cleaned_data["model"]).strip()
        if name and (problem := name_problem(name)):
            raise ValidationError(f"It {problem}.")
        return normal_model(name)

    def _checked(self, name: str, problem_of: Callable[[Decimal], str | None]) -> Decimal:
        value: Decimal = self.cleaned_data[name]
        if problem := problem_of(value):
            raise ValidationError(problem)
        return value


class RateForm(DatedForm):
    def clean_holds_from(self) -> Any:
        """A default that is earlier than all others prices only receipts that wait without a rate."""
        holds_from = self.cleaned_data["holds_from"]
        default = not self.data.get(self.add_prefix("model"), "").strip()
        if default and not Rate.objects.filter(model="", holds_from__lte=holds_from).exists():
            return holds_from
        return super().clean_holds_from()

    def clean_input_usd(self) -> Decimal:
        return self._checked("input_usd", price_problem)

    def clean_output_usd(self) -> Decimal:
        return self._checked("output_usd", price_problem)

    def clean_cache_hit_discount(self) -> Decimal:
        return self._checked("cache_hit_discount", discount_problem)


class JtvoForm(DatedForm):
    def clean_jtvo_per_usd(self) -> Decimal:
        return self._checked("jtvo_per_usd", jtvo_problem)


class PolicyForm(DatedForm):
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        schedule, day = cleaned.get("schedule"), cleaned.get("schedule_day")
        if schedule and day is not None and (problem := schedule_problem(PayoutInterval(schedule), day)):
            self.add_error("schedule_day", problem)
        return cleaned


class DatedAdmin(AuditedAdmin):
    """Rows are added, and deleted while they lie in the future. Both ask for the password again."""

    copied: ClassVar[tuple[str, ...]] = ()  # the fields that "Add a row like this" fills in
    date_hierarchy = "holds_from"
    ordering = ("-holds_from",)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["created_by", "created_at", "like_this"] if obj else []

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        return [*self.copied, "holds_from", "note", *self.get_readonly_fields(request, obj)]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return obj is None or (isinstance(obj, HoldsFrom) and obj.holds_from > timezone.now())

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}  # deleting several would stop at the first that holds already

    @admin.display(description="to change it")
    def like_this(self, row: HoldsFrom) -> SafeString:
        """A link to the form for a new row with the same values."""
        values = {name: _as_text(getattr(row, name)) for name in self.copied}
        model = row._meta
        address = reverse(f"admin:{model.app_label}_{model.model_name}_add")
        return format_html('<a href="{}?{}">Add a row like this</a>', address, urlencode(values))

    @admin.display(description="holds", boolean=True)
    def holds(self, row: HoldsFrom) -> bool:
        """Whether its date has come. A later row may have taken its place."""
        return row.holds_from <= timezone.now()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.created_by = actor_of(user_of(request)).id
        super().save_model(request, obj, form, change)

    @method_decorator(step_up_required)
    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Says so if the database refuses the row, as when its date came too close while the form was open."""
        try:
            return super().add_view(request, *args, **kwargs)
        except IntegrityError:
            self.message_user(
                request,
                "Nothing was saved: the date is too close, or already taken by another row.",
                messages.ERROR,
            )
            return HttpResponseRedirect(request.get_full_path())

    @method_decorator(step_up_required)
    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().delete_view(request, *args, **kwargs)
        except ProgrammingError:  # the database refuses to delete a row that holds by now
            self.message_user(request, "Nothing was deleted: the row holds by now.", messages.ERROR)
            return HttpResponseRedirect(
                reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
            )


@admin.register(Rate)
class RateAdmin(DatedAdmin):
    form = RateForm
    copied = ("model", "input_usd", "output_usd", "cache_hit_discount")
    list_display = (
        "__str__",
        "input_usd",
        "output_usd",
        "cache_hit_discount",
        "holds",
        "created_by",
        "like_this",
    )
    search_fields = ("model",)


@admin.register(JtvoRate)
class JtvoRateAdmin(DatedAdmin):
    form = JtvoForm
    copied = ("jtvo_per_usd", "source")
    list_display = ("__str__", "source", "holds", "created_by", "like_this")


@admin.register(Policy)
class PolicyAdmin(DatedAdmin):
    form = PolicyForm
    copied = (
        "require_dispatch",
        "threshold_usd",
        "hold_days",
        "schedule",
        "schedule_day",
        "minimum_reputation",
        "confirm_from_usd",
        "confirm_unconfirmed",
        "confirm_overrides",
    )
    list_display = (
        "__str__",
        "threshold_usd",
        "schedule",
        "require_dispatch",
        "holds",
        "created_by",
        "like_this",
    )


@admin.register(ModelLimit)
class ModelLimitAdmin(DatedAdmin):
    form = DatedForm
    copied = ("model", "output_per_second", "context_tokens")
    list_display = ("__str__", "output_per_second", "context_tokens", "holds", "created_by", "like_this")
    search_fields = ("model",)


@admin.register(Movement)
class MovementAdmin(ReadOnlyAdmin):
    list_display = (
        "at",
        "kind",
        "from_account",
        "to_account",
        "amount_usd",
        "node_id",
        "org",
        "payout_id",
        "actor",
    )
    list_filter = ("kind",)
    list_select_related = ("org",)
    search_fields = ("node__id__exact", "org__name")
    show_full_result_count = False
    raw_id_fields = ("line", "node", "payout", "payment")


@admin.register(Payout)
class PayoutAdmin(ReadOnlyAdmin):
    list_display = ("node_id", "org", "amount_usd", "state", "marked_by", "marked_at", "confirmed_by")
    list_filter = ("state",)
    list_select_related = ("org",)
    search_fields = ("node__id", "org__name", "marked_by")


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    list_display = ("export_id", "org", "node_id", "paid_usd", "chain", "address", "returned_at")
    list_filter = ("chain",)
    list_select_related = ("org",)
    search_fields = ("address", "org__name")


@admin.register(ExportFile)
class ExportFileAdmin(ReadOnlyAdmin):
    list_display = ("number", "created_at", "created_by", "payments_count", "total_usd")
    fields = ("number", "created_at", "created_by", "payments_count", "total_usd", "hash", "file")
    readonly_fields = ("hash", "file")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ExportFile]:
        return super().get_queryset(request).defer("body")

    @admin.display(description="SHA-256")
    def hash(self, row: ExportFile) -> str:
        return bytes(row.sha256).hex()

    @admin.display(description="file")
    def file(self, row: ExportFile) -> SafeString:
        return format_html('<a href="{}">CSV</a>', reverse("earnings_run:download", args=[row.number]))


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    list_display = (
        "org",
        "node_id",
        "chain",
        "address",
        "state",
        "confirmed_at",
        "confirmed_by",
        "payouts_from",
    )
    list_filter = ("state", "chain")
    list_select_related = ("org",)
    search_fields = ("address", "org__name", "node__id")


def _as_text(value: object) -> str:
    """A value as the add form reads it from its address."""
    return "" if value is None or value is False else str(value)
