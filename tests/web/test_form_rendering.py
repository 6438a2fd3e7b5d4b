"""The console's inputs and selects are those of Django's templates."""

import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django import forms
from django.forms.renderers import DjangoTemplates, get_default_renderer
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from jatevo.web.form_rendering import FormRenderer

HOSTILE = "\"><script>alert('x')</script>&amp;"


class Markup:
    """A label that has HTML, but is no text."""

    def __html__(self) -> str:
        return "<script>"

    def __str__(self) -> str:
        return "<b>"


LABELS = [Markup(), datetime(2026, 3, 4, 5, 6, tzinfo=UTC), 1234.5, None]
WIDGETS: dict[str, Any] = {
    "text": forms.TextInput,
    "search": lambda: forms.TextInput(attrs={"type": "search", "autofocus": True, "required": False}),
    "number": forms.NumberInput,
    "email": forms.EmailInput,
    "url": forms.URLInput,
    "password": lambda: forms.PasswordInput(render_value=True),
    "hidden": forms.HiddenInput,
    "date": forms.DateInput,
    "checkbox": forms.CheckboxInput,
    "attributes": lambda: forms.TextInput(
        attrs={"title": HOSTILE, "data-safe": mark_safe("&lt;"), "size": 3, "list": gettext_lazy("Name")}
    ),
    "select": lambda: forms.Select(choices=[("", "Any"), ("1", HOSTILE), (mark_safe("&lt;"), "safe"), (2, 2_000)]),
    "groups": lambda: forms.Select(
        attrs={"class": "input"}, choices=[("", "Any"), (HOSTILE, [("a", "A"), ("b", gettext_lazy("Yes"))])]
    ),
    "labels": lambda: forms.Select(choices=[*enumerate(LABELS), *((each, [("x", "X")]) for each in LABELS[1:3])]),
    "several": lambda: forms.SelectMultiple(choices=[("a", "A"), ("b", "B")]),
    "radio": lambda: forms.RadioSelect(choices=[("a", "A"), ("b", "B")]),
    "textarea": forms.Textarea,
    "file": forms.ClearableFileInput,
}  # fmt: skip
VALUES = [None, "", "a", "1", 2, 1234.5, True, False, date(2026, 3, 4), HOSTILE, mark_safe("&lt;b&gt;")]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("name", WIDGETS)
def test_they_are_written_as_djangos_templates_write_them(name: str, value: Any) -> None:
    if name == "file":
        value = None
    widget = WIDGETS[name]()
    with timezone.override("Asia/Tokyo"):
        written, expected = (
            re.sub(r"\s+(?=<)", "", widget.render(HOSTILE, value, attrs={"id": "id_x"}, renderer=renderer))
            for renderer in (FormRenderer(), DjangoTemplates())
        )
    assert written == expected
    assert "<script>" not in written


def test_forms_use_it() -> None:
    assert isinstance(get_default_renderer(), FormRenderer)
