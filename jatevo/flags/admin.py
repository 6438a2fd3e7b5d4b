"""The console's feature flags in Django admin: only the switches of the registry."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from waffle import get_waffle_flag_model, get_waffle_sample_model, get_waffle_switch_model

from jatevo.audit.audited_admin import AuditedAdmin
from jatevo.flags.registry import DEFAULTS, Flag

Switch = get_waffle_switch_model()

# The console reads switches only. Waffle's flags and samples would have no effect.
for model in (get_waffle_flag_model(), get_waffle_sample_model(), Switch):
    admin.site.unregister(model)


class SwitchForm(forms.ModelForm):
    """A switch for a flag of the registry. The help text states each flag's default."""

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
            switch.delete()  # one by one, because only then does waffle clear its cache
