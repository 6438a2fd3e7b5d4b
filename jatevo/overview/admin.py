"""Django admin for incidents. They are resolved, not deleted; all writing goes through incident_actions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from jatevo.accounts.models import User
from jatevo.overview import incident_actions
from jatevo.overview.incidents import exemption_sentence
from jatevo.overview.models import Incident, IncidentUpdate
from nodes.models import Node


class IncidentForm(forms.ModelForm):
    """With the regions that have nodes to choose from."""

    region = forms.ChoiceField(required=False)

    class Meta:
        model = Incident
        fields = [
            "kind",
            "severity",
            "title",
            "description",
            "region",
            "starts_at",
            "ends_at",
            "exempts_nodes",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        regions = set(Node.objects.order_by().values_list("region", flat=True).distinct())
        regions |= {self.instance.region} - {""}
        choices = [("", "The whole network"), *((region, region) for region in sorted(regions))]
        field = self.fields["region"]
        if isinstance(field, forms.ChoiceField):
            field.choices = choices

    def _post_clean(self) -> None:
        """With what the whole incident may not be; the form alone does not know when it was resolved."""
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            with reported_by(self):
                incident_actions.check(self.instance, at=timezone.now())


class UpdateForm(forms.ModelForm):
    class Meta:
        model = IncidentUpdate
        fields = ["at", "state", "text"]

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            with reported_by(self):
                incident_actions.check_update(self.instance, at=timezone.now())


@contextmanager
def reported_by(form: forms.ModelForm) -> Iterator[None]:
    """Shows what was refused at the form's fields."""
    try:
        yield
    except ValidationError as error:
        form.add_error(None, error)


class UpdateInline(admin.TabularInline):
    model = IncidentUpdate
    form = UpdateForm
    extra = 1
    fields = ["at", "state", "text", "by"]
    readonly_fields = ["by"]
    formfield_overrides = {models.TextField: {"widget": forms.Textarea(attrs={"rows": 2, "cols": 60})}}
    verbose_name = "update"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # what was said was said

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Incident)
class IncidentAdmin(admin.ModelAdmin):
    form = IncidentForm
    readonly_fields = ["created_at", "resolved_at", "exempted"]
    fieldsets = [
        (None, {"fields": ["kind", "severity", "title", "description", "region"]}),
        ("Time", {"fields": ["starts_at", "ends_at", "resolved_at", "created_at"]}),
        ("Reputation", {"fields": ["exempts_nodes", "exempted"]}),
    ]
    inlines = [UpdateInline]
    list_display = ["title", "kind", "severity", "region", "starts_at", "resolved_at", "exempts_nodes"]
    list_filter = ["kind", "severity", ("resolved_at", admin.EmptyFieldListFilter), "region"]
    search_fields = ["title", "description"]
    actions = ["resolve"]

    def has_delete_permission(self, request: HttpRequest, obj: Incident | None = None) -> bool:
        return False

    @admin.display(description="Nodes that are exempt")
    def exempted(self, incident: Incident) -> str:
        if not incident.pk:
            return "None yet: shown once the incident is saved."
        return exemption_sentence(incident, fold_small=False) or "None."

    def save_model(self, request: HttpRequest, obj: Incident, form: Any, change: bool) -> None:
        by, now = _staff(request), timezone.now()
        if change:
            incident_actions.change_incident(incident=obj, fields=form.changed_data, by=by, at=now)
        else:
            incident_actions.open_incident(incident=obj, by=by, at=now)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        for update in formset.save(commit=False):
            incident_actions.add_update(update=update, by=_staff(request), at=timezone.now())
        formset.save_m2m()

    @admin.action(description="Resolve the chosen incidents now", permissions=["change"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        by, now = _staff(request), timezone.now()
        resolved = sum(incident_actions.resolve(incident=each, by=by, at=now) for each in queryset)
        self.message_user(request, f"{resolved} resolved.")


def _staff(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise ValidationError("Sign in first.")
    return request.user
