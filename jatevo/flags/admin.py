"""The console's feature flags in Django admin: switches of the registry, and nothing else of waffle's."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from waffle import get_waffle_flag_model, get_waffle_sample_model, get_waffle_switch_model

from jatevo.audit.audited_admin import AuditedAdmin
from jatevo.flags.registry import DEFAULTS, Flag

Switch = get_waffle_switch_model()

# Only switches are ever asked for, so the other kinds would be knobs without a machine.
for model in (get_waffle_flag_model(), get_waffle_sample_model(), Switch):
    admin.site.unregister(model)


class SwitchForm(forms.ModelForm):
    """A flag of the registry, with what it is without a row."""

    name = forms.ChoiceField(choices=[(flag.value, flag.value) for flag in Flag])

    class Meta:
        model = Switch
        fields = ["name", "active", "note"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        defaults = ", ".join(f"{flag.value} is {'on' if on else 'off'}" for flag, on in DEFAULTS.items())
        self.fields["active"].help_text = f"Without a row: {defaults}."


@admin.register(Switch)
class FlagAdmin(AuditedAdmin):
    form = SwitchForm
    list_display = ["name", "active", "note", "modified"]

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for switch in queryset:
            switch.delete()  # one by one: waffle empties its cache then
