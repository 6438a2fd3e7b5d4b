"""Inputs and selects of forms, written without Django's templates for them, which a page with a search form renders by the
dozen: 7 % of its processor time.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django.forms.renderers import DjangoTemplates
from django.utils.formats import localize
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import template_localtime  # type: ignore[attr-defined]  # the stubs lack it

Widget = Mapping[str, Any]

_WIDGETS = "django/forms/widgets/"
_INPUTS = ("text", "number", "email", "url", "password", "hidden", "date", "checkbox")
_OPTION = f"{_WIDGETS}select_option.html"


class FormRenderer(DjangoTemplates):
    """Django's renderer of forms. What is not an input or a select with plain options has its template."""

    def render(self, template_name: str, context: dict[str, Any], request: Any = None) -> str:
        write = _WRITERS.get(template_name)
        written = write(context["widget"]) if write is not None else None
        if written is None:
            return super().render(template_name, context, request)
        return mark_safe(written)  # noqa: S308 - its parts are escaped


def _input(widget: Widget) -> str:
    value = widget["value"]
    stated = "" if value is None else f' value="{_text(value)}"'
    return f'<input type="{_text(widget["type"])}" name="{_text(widget["name"])}"{stated}{_attrs(widget)}>'


def _select(widget: Widget) -> str | None:
    parts = [f'<select name="{_text(widget["name"])}"{_attrs(widget)}>']
    for group, options, _ in widget["optgroups"]:
        if group:
            parts.append(f'\n  <optgroup label="{_shown(group)}">')
        for each in options:
            if each["template_name"] != _OPTION:
                return None
            parts.append(
                f'\n  <option value="{_text(each["value"])}"{_attrs(each)}>{_shown(each["label"])}</option>'
            )
        if group:
            parts.append("\n  </optgroup>")
    return "".join([*parts, "\n</select>"])


def _attrs(widget: Widget) -> str:
    return "".join(
        f" {conditional_escape(name)}" if value is True else f' {conditional_escape(name)}="{_text(value)}"'
        for name, value in widget["attrs"].items()
        if value is not False
    )


def _text(value: object) -> str:
    """As the filter `stringformat:"s"` writes it: what is safe stays as it is."""
    return conditional_escape(value if isinstance(value, SafeString) else str(value))


def _shown(value: object) -> str:
    """As a variable of a template is written."""
    shown = localize(template_localtime(value))
    return conditional_escape(shown if isinstance(shown, str) else str(shown))


_WRITERS: dict[str, Callable[[Widget], str | None]] = {
    **{f"{_WIDGETS}{name}.html": _input for name in _INPUTS},
    f"{_WIDGETS}select.html": _select,
}
