"""Django admin for incidents. They are ended and never deleted. All changes go through incident_actions."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.text import Truncator

from jatevo.accounts.permissions import user_of
from jatevo.overview import incident_actions
from jatevo.overview.incidents import exemption_sentence
from jatevo.overview.models import Incident, IncidentQuerySet, IncidentUpdate
from nodes.models import Node


class IncidentForm(forms.ModelForm):
    """The form of an incident, with a choice of regions that have nodes."""

    region = forms.ChoiceField(
        required=False,
        help_text="Shown to everyone, even for a small region that figures group under “other”.",
    )

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
            "resolved_at",
            "exempts_nodes",
        ]
        help_texts = {
            "starts_at": "Start time (UTC). Only maintenance can start in the future.",
            "ends_at": "UTC. Maintenance ends automatically at this time. Move it if the work takes longer."
            " For an incident it is only an estimate.",
            "resolved_at": "Actual end (UTC). Enter it right away if the incident is already over."
            " Change it to correct the end. Clear it to reopen."
            " Maintenance that ended as planned needs none. A time before the start cancels the maintenance.",
            "exempts_nodes": "The nodes of the region, or all of the whole network, lose no reputation from the"
            " start to the end; public pages say so. Untick it for a mere notice, or if the operators are to blame.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # compared with what the form showed, so that a form with an empty end does not reopen an incident
        # ended meanwhile
        if "resolved_at" in self.fields:
            self.fields["resolved_at"].show_hidden_initial = True
        regions = set(Node.objects.order_by().values_list("region", flat=True).distinct())
        regions |= {self.instance.region} - {""}
        choices = [("", "The whole network"), *((region, region) for region in sorted(regions))]
        field = self.fields["region"]
        if isinstance(field, forms.ChoiceField):
            field.choices = choices

    def _post_clean(self) -> None:
        """Adds the errors that concern the incident as a whole."""
        ended_at = self.instance.resolved_at
        super()._post_clean()  # type: ignore[misc]
        if "resolved_at" not in self.changed_data:
            self.instance.resolved_at = ended_at
        if not self.errors:
            with reported_by(self):
                changed = None if self.instance._state.adding else self.changed_data
                incident_actions.check(self.instance, at=timezone.now(), changed=changed)


class UpdateForm(forms.ModelForm):
    class Meta:
        model = IncidentUpdate
        fields = ["at", "state", "text"]
        help_texts = {
            "at": "Time of the update (UTC).",
            "state": "“Resolved” ends the incident at that time, or cancels maintenance that has not started.",
            "text": "Public. It cannot be edited later.",
        }


class UpdateFormSet(forms.BaseInlineFormSet):
    """The updates of the form, each checked against the values of the incident in the form."""

    def clean(self) -> None:
        super().clean()
        now, incident = timezone.now(), copy(self.instance)
        said = [form for form in self.extra_forms if form.has_changed() and form.is_valid()]
        for form in sorted(said, key=lambda form: incident_actions.place_in_course(form.instance)):
            with reported_by(form):
                incident_actions.check_update(form.instance, incident=incident, at=now)
                incident_actions.take_end_from(form.instance, incident=incident)


@contextmanager
def reported_by(form: forms.ModelForm) -> Iterator[None]:
    """Shows errors of an action at the form's fields."""
    try:
        yield
    except ValidationError as error:
        form.add_error(None, error)


class UpdateInline(admin.TabularInline):
    model = IncidentUpdate
    form = UpdateForm
    formset = UpdateFormSet
    extra = 1
    fields = ["at", "state", "text", "by"]
    readonly_fields = ["by"]
    formfield_overrides = {models.TextField: {"widget": forms.Textarea(attrs={"rows": 2, "cols": 60})}}
    verbose_name = "update"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # published updates cannot be deleted

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OverFilter(admin.SimpleListFilter):
    """Filters resolved incidents as pages and the API do, including maintenance that ended as planned."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("over", "Over")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Incident]) -> QuerySet[Incident]:
        match self.value(), queryset:
            case "open", IncidentQuerySet():
                return queryset.open()
            case "over", IncidentQuerySet():
                return queryset.resolved()
        return queryset


@admin.register(Incident)
class IncidentAdmin(admin.ModelAdmin):
    form = IncidentForm
    readonly_fields = ["created", "exempted"]
    fieldsets = [
        (None, {"fields": ["kind", "severity", "title", "description", "region"]}),
        ("Time", {"fields": ["starts_at", "ends_at", "resolved_at", "created"]}),
        ("Reputation", {"fields": ["exempts_nodes", "exempted"]}),
    ]
    inlines = [UpdateInline]
    list_display = ["name", "kind", "severity", "region", "starts_at", "ended", "exempts_nodes"]
    list_filter = ["kind", "severity", OverFilter, "region"]
    search_fields = ["title", "description"]
    actions = ["resolve", "reopen"]

    def has_delete_permission(self, request: HttpRequest, obj: Incident | None = None) -> bool:
        return False

    @admin.display(description="title", ordering="title")
    def name(self, incident: Incident) -> str:
        """The title, shortened to leave room for the other columns."""
        return Truncator(incident.title).chars(60)

    @admin.display(description="created at")
    def created(self, incident: Incident) -> str:
        """The database gives it: until then the field holds an expression."""
        return f"{incident.created_at:%-d %b %Y, %H:%M} UTC" if incident.pk else "Not yet."

    @admin.display(description="Nodes that are exempt")
    def exempted(self, incident: Incident) -> str:
        if not incident.pk:
            return "Shown after the incident is saved."
        return exemption_sentence(incident, fold_small=False) or "None."

    @admin.display(description="ended at", empty_value="not yet")
    def ended(self, incident: Incident) -> str | None:
        if incident.called_off:
            return "cancelled"
        if not incident_actions.is_over(incident, at=timezone.now()):
            return None
        return f"{incident.ended_at:%-d %b %Y, %H:%M} UTC{'' if incident.resolved_at else ', as planned'}"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Shows errors that the forms could not find, such as a concurrent change, on a new form."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except ValidationError as error:
            self.message_user(request, f"Nothing was saved: {' '.join(error.messages)}", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Incident, form: Any, change: bool) -> None:
        """Does nothing, because an incident is stored together with its updates."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        incident, by, now = form.instance, user_of(request), timezone.now()
        said = [update for formset in formsets for update in formset.save(commit=False)]
        if change:
            incident_actions.change_incident(
                incident=incident, fields=form.changed_data, updates=said, by=by, at=now
            )
        else:
            incident_actions.open_incident(incident=incident, updates=said, by=by, at=now)

    @admin.action(description="Resolve selected incidents now", permissions=["change"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        by, now = user_of(request), timezone.now()
        resolved = sum(incident_actions.resolve(incident=each, by=by, at=now) for each in queryset)
        self.message_user(request, f"{resolved} resolved.")

    @admin.action(description="Reopen selected incidents", permissions=["change"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        by, now, reopened = user_of(request), timezone.now(), 0
        for each in queryset:
            try:
                reopened += incident_actions.reopen(incident=each, by=by, at=now)
            except ValidationError as error:
                self.message_user(request, f"“{each.title}”: {' '.join(error.messages)}", messages.ERROR)
        self.message_user(request, f"{reopened} reopened.")
