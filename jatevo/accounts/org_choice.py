"""A form's field for an organisation. There may be hundreds, so they are read as names and rendered once."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

from django import forms
from django.forms.models import ModelChoiceIterator
from django.forms.utils import flatatt
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jatevo.accounts.models import Org
from jatevo.web.templatetags.ui import options


class OrgSelect(forms.Select):
    """A select whose options are rendered by the component."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = self.format_value(value)
        return format_html(
            "<select{}>{}</select>",
            flatatt(self.build_attrs(self.attrs, {"name": name, **(attrs or {})})),
            options(cast(Iterable[tuple[object, str]], self.choices), chosen[0] if chosen else ""),
        )


class _OrgChoices(ModelChoiceIterator):
    def __iter__(self) -> Iterator[tuple[Any, str]]:
        if self.field.empty_label is not None:
            yield "", str(self.field.empty_label)
        yield from self.queryset.values_list("pk", "name")


class OrgChoiceField(forms.ModelChoiceField):
    """Any organisation."""

    widget = OrgSelect
    iterator = _OrgChoices

    def __init__(self, *, label: str = "Organisation", **options: Any) -> None:
        super().__init__(Org.objects.all(), label=label, **options)
