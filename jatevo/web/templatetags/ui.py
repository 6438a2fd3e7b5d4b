"""`{% load ui %}`: the console's components as template tags. docs/ui.md and /ui/ show each of them.

A tag prepares the context for its template in templates/components/ and renders it. Arithmetic, look-ups and
ids are here and not in the templates.
"""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from django import template
from django.conf import settings
from django.forms import BoundField, CheckboxInput, TextInput
from django.template.loader import render_to_string
from django.urls import get_script_prefix
from django.utils.safestring import SafeString

from jatevo.web import definitions
from jatevo.web.definitions import Definition
from jatevo.web.figures import Amount, Figure
from jatevo.web.notices import shown
from jatevo.web.request_id import current_request_id
from jatevo.web.routes import path_to
from jatevo.web.templatetags import cells, charts, icons, list_pages, menus, moments, money, numbers
from jatevo.web.templatetags.rendered_once import rendered_once
from jatevo.web.templatetags.tones import ALERT_ICONS, CHIPS, STEPS, Chip, Tone

register = template.Library()
register.simple_tag(icons.icon)
register.simple_tag(moments.when)
register.simple_tag(moments.exact_time)
register.simple_tag(moments.times_in)
register.simple_tag(current_request_id, name="request_id")
register.filter(moments.offset)
register.filter(moments.duration)
register.simple_tag(moments.time_zone_words)
register.filter(numbers.count)
register.filter(numbers.short)
register.filter(numbers.decimals)
register.filter(numbers.percent)
register.filter(numbers.milliseconds)
register.filter(money.usd)
register.filter(money.usd_words)
register.filter(money.exact_usd)
register.filter(money.jtvo)
register.simple_tag(cells.usd_cell)
register.simple_tag(cells.count_cell)
register.simple_tag(cells.number_cells)
register.tag(cells.cells)
register.simple_tag(menus.menu_link)
register.simple_tag(menus.menu_link_to)
register.simple_tag(path_to)
register.inclusion_tag("components/pagination.html", takes_context=True)(list_pages.pagination)
register.inclusion_tag("components/cursor_pagination.html", takes_context=True)(list_pages.cursor_pagination)

THEMES = ("dark", "light", "system")


@register.simple_tag(takes_context=True)
def theme(context: template.Context) -> str:
    """The theme that the visitor chose (cookie `theme`, written by app.js); dark until then."""
    request = context.get("request")
    chosen = request.COOKIES.get("theme") if request is not None else None
    return chosen if chosen in THEMES else "dark"


@register.simple_tag(takes_context=True)
def theme_toggle(context: template.Context) -> SafeString:
    """`{% theme_toggle %}`: the button that changes the theme."""
    return _theme_toggle(theme(context))


@rendered_once("components/theme_toggle.html")
def _theme_toggle(theme: str) -> dict[str, str]:
    return {"theme": theme}


@register.simple_tag
def nav_items(items: Iterable[Any], rail: bool = False) -> SafeString:
    """`{% nav_items nav %}`: the pages open to this person, as jatevo/accounts/navigation.py gives them.

    `rail=True` for the column at the side, which shows icons alone where it is narrow.
    """
    return _nav_items(tuple(items), rail, get_script_prefix())


@rendered_once("components/nav_items.html")
def _nav_items(items: tuple[Any, ...], rail: bool, prefix: str) -> dict[str, Any]:
    """`prefix` is part of the links."""
    return {"nav": items, "rail": rail}


@register.simple_tag
@cache
def console_version() -> str:
    """The version in pyproject.toml."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())
    return str(project["project"]["version"])


@register.simple_tag
def notices() -> tuple[str, ...]:
    """`{% notices as texts %}`: the notices at the top of every page (jatevo/web/notices.py)."""
    return shown()


# --- words with a colour


@register.simple_tag
@rendered_once("components/chip.html")
def status_chip(status: str) -> dict[str, Chip]:
    """`{% status_chip node.status %}`: also an incident's severity. An unknown word is gray."""
    return {"chip": CHIPS.get(str(status)) or Chip(str(status).capitalize(), "unknown", Tone.IDLE)}


@register.simple_tag
@rendered_once("components/chip.html")
def verify_badge(valid: bool | None) -> dict[str, Chip]:
    """`{% verify_badge verification.valid %}`: valid, invalid, or (None) not verified."""
    return {"chip": CHIPS["unverified" if valid is None else "valid" if valid else "invalid"]}


@register.simple_tag
@rendered_once("components/chip.html")
def badge(label: str, tone: str = "idle", icon: str = "") -> dict[str, Chip]:
    """`{% badge "Green energy" tone="ok" icon="leaf" %}`: any other text in a chip."""
    return {"chip": Chip(label, icon, Tone(tone))}


# --- figures


@register.inclusion_tag("components/kpi.html")
def kpi(
    label: str,
    figure: Figure,
    unit: str = "",
    hint: str = "",
    href: str = "",
    icon: str = "",
    digits: int = 0,
    trend: Iterable[float | None] | None = None,
    trend_label: str = "",
    help: str = "",
    change: Any = None,
    good: str = "",
    change_help: str = "",
) -> dict[str, Any]:
    """`{% kpi "Avg p95" figures.p95 unit="ms" %}`: the value, a zero, or — and why, with its time.

    `change` has a `difference` and a `ratio` to yesterday. `good` is the good direction, up or down.
    `change_help` is the key of the definition of the change.
    """
    return {
        "label": label,
        "figure": figure,
        "shown": numbers.decimals(figure.value, digits),
        "unit": unit,
        "hint": hint,
        "href": href,
        "icon": icon,
        "spark": charts.sparkline_of(trend) if trend is not None else None,
        "trend_label": trend_label,
        "definition": help,
        "change_help": change_help,
        "change": charts.change_of(change.difference, change.ratio, good) if change is not None else None,
    }


@register.inclusion_tag("components/kpi.html")
def kpi_usd(
    label: str, amount: Amount, hint: str = "", href: str = "", icon: str = "", help: str = ""
) -> dict[str, Any]:
    """`{% kpi_usd "Fees" summary.fees hint="…" href=… help="fees" %}`: an amount, with the exact one on hover."""
    shown = money.usd(amount.value)
    return {
        "label": label,
        "figure": amount,
        "shown": shown,
        "hint": hint,
        "href": href,
        "icon": icon,
        "definition": help,
    }


@register.inclusion_tag("components/sparkline.html")
def sparkline(values: Iterable[float | None], label: str) -> dict[str, Any]:
    """`{% sparkline hourly label="Requests per hour, last 24 h" %}`: evenly spaced values; None is a gap."""
    return {"spark": charts.sparkline_of(values), "label": label}


@register.simple_tag
@rendered_once("components/help.html")
def help(definition: Definition | str, place: str = "", change: str = "") -> dict[str, Any]:
    """`{% help "p95_global" %}`: a "?" that opens the given definition, or the one with that key.

    If a page shows the same definition twice, each needs its own `place`, for the ids. `change` is the key of
    the definition of the change next to the figure.
    """
    found = definitions.find(definition) if isinstance(definition, str) else definition
    return {
        "definition": found,
        "change": definitions.find(change) if change else None,
        "id": "-".join(["help", found.key, place] if place else ["help", found.key]),
    }


# --- containers


@register.simple_block_tag
def panel(
    content: str, title: str = "", id: str = "", flush: bool = False, hint: str = "", help: str = ""
) -> SafeString:
    """`{% panel title="Hardware" %}…{% endpanel %}`: a card; `flush=True` for a table that fills it.

    `help` is the key of a definition, for a "?" beside the title.
    """
    return _render("panel", content=content, title=title, id=id, flush=flush, hint=hint, definition=help)


@register.simple_block_tag
def table(content: str, caption: str) -> SafeString:
    """`{% table caption="Nodes" %}…{% endtable %}`: scrolls sideways, also by keyboard."""
    return _render("table", content=content, caption=caption)


@register.simple_block_tag
def empty_state(content: str, title: str, icon: str = "box") -> SafeString:
    """`{% empty_state title="No nodes yet" icon="nodes" %}What to do next{% endempty_state %}`."""
    return _render("empty_state", content=content, title=title, icon=icon)


@register.simple_block_tag
def alert(content: str, tone: str = "info", title: str = "", role: str = "") -> SafeString:
    """`{% alert tone="warn" title="…" %}…{% endalert %}`; `role="alert"` when it answers an act."""
    return _render(
        "alert", content=content, tone=Tone(tone), icon=ALERT_ICONS[Tone(tone)], title=title, role=role
    )


@register.simple_block_tag
def live_part(
    content: str,
    id: str,
    url: str,
    every: float | None,
    classes: str = "",
    holds: bool = False,
    loads: bool = False,
) -> SafeString:
    """`{% live_part id="nodes-list" url=here every=10 %}…`: a part that refreshes itself every so many
    seconds.

    `url` is the part's own absolute path. A relative one would change its meaning when a drawer changes the
    browser's address. With `every=None` it does not refresh. With `holds=True` its list does not move while it
    is read, and {% new_rows %} announces what came (static/js/held.js). With `loads=True` it refreshes itself first as
    soon as it is on the page, for what is expensive. Raises ValueError for a relative path.
    """
    if not url.startswith("/") or url.startswith("//"):
        raise ValueError(f"the live part {id} must name its own address from the root on, not {url!r}")
    return _render(
        "live_part", content=content, id=id, url=url, every=every, classes=classes, holds=holds, loads=loads
    )


@register.inclusion_tag("components/new_rows.html")
def new_rows(of: str, single: str, plural: str) -> dict[str, str]:
    """`{% new_rows of="receipts-list" single="new receipt" plural="new receipts" %}`: what a live part holds back."""
    return {"of": of, "single": single, "plural": plural}


@register.simple_block_tag
def drawer(content: str, title: str, href: str = "", status: str = "") -> SafeString:
    """`{% drawer title=node.id href=… status=node.status %}…`: the whole fragment of a drawer."""
    return _render("drawer", content=content, title=title, href=href, chip=CHIPS.get(str(status)))


@register.simple_block_tag
def step_card(content: str, number: int, title: str, state: str = "") -> SafeString:
    """`{% step_card number=1 title="Pick" state="done" %}…`: or current, todo, failed, ''."""
    return _render(
        "step_card", content=content, number=number, title=title, chip=STEPS.get(state), state=state
    )


@register.inclusion_tag("components/check_item.html")
def check_item(
    label: str, state: str, detail: object = "", compared: Iterable[tuple[str, str]] = ()
) -> dict[str, object]:
    """`{% check_item "Registered" state="done" detail=… %}`: a line in `<ul class="checks">`.

    `compared` are pairs of what was compared and its value, for a small table below the line.
    """
    return {"label": label, "chip": STEPS[state], "detail": detail, "compared": compared}


@register.simple_block_tag
def check_block(content: str, label: str, state: str) -> SafeString:
    """The same with any inline content: `{% check_block "Active" state="done" %}…{% endcheck_block %}`."""
    return _render("check_item", label=label, chip=STEPS[state], detail=content)


@register.inclusion_tag("components/kv.html")
def kv(label: str, value: object, mono: bool = False, copy: bool = False) -> dict[str, object]:
    """`<dl class="kv">{% kv "Region" node.region %}</dl>`: one entry. An empty value is shown as —."""
    return {"label": label, "value": value, "mono": mono, "copy": copy, "blank": value is None or value == ""}


@register.simple_block_tag
def kv_block(content: str, label: str) -> SafeString:
    """The same with any content: `{% kv_block "Key" %}<code>…</code>{% endkv_block %}`."""
    return _render("kv_block", content=content, label=label)


@register.inclusion_tag("components/code_block.html")
def code_block(text: str, title: str = "", id: str = "code", download: str = "") -> dict[str, str]:
    """`{% code_block text title="Receipt" id="json" download=url %}`: with a copy button."""
    return {"text": text, "title": title, "id": id, "download": download}


@register.inclusion_tag("components/copy_button.html")
def copy_button(text: str = "", target: str = "", label: str = "Copy", small: bool = True) -> dict[str, Any]:
    """`{% copy_button node.id label="Copy node id" %}`, or `target="an-id"` to copy that element's text."""
    return {"text": text, "target": target, "label": label, "small": small}


@register.simple_tag
@rendered_once("components/skeleton.html")
def skeleton(lines: int = 3) -> dict[str, range]:
    """`{% skeleton lines=4 %}`: a placeholder while the content loads."""
    return {"lines": range(lines)}


@register.inclusion_tag("components/tabs.html")
def tabs(items: Iterable[Mapping[str, Any]], label: str, target: str = "") -> dict[str, Any]:
    """`{% tabs items label="Node" %}`: links, so they work without a script.

    An item has `label`, `url`, `active` and perhaps `count`. With `target="an-id"` htmx swaps that element.
    """
    return {"items": items, "label": label, "target": target}


# --- forms


@register.inclusion_tag("components/field.html")
def field(
    bound: BoundField, compact: bool = False, placeholder: str = "", autofocus: bool = False
) -> dict[str, Any]:
    """`{% field form.email %}`: label, input, help, errors, tied together; `compact=True` in filters."""
    checkbox = isinstance(bound.field.widget, CheckboxInput)
    attrs: dict[str, str | bool] = {"class": "checkbox" if checkbox else "input"}
    if placeholder:
        attrs["placeholder"] = placeholder
    if autofocus:
        attrs["autofocus"] = True
    return {"field": bound, "control": bound.as_widget(attrs=attrs), "checkbox": checkbox, "compact": compact}


@register.simple_tag
def options(choices: Iterable[tuple[object, str]], chosen: object = "") -> SafeString:
    """`<select name="org">{% options choices query.org.pk %}</select>`: pairs of a value and its label, plain text."""
    return _options(tuple((str(value), label) for value, label in choices), str(chosen))


@rendered_once("components/options.html", most=64)  # some have hundreds of choices
def _options(choices: tuple[tuple[str, str], ...], chosen: str) -> dict[str, Any]:
    return {"choices": choices, "chosen": chosen}


@register.inclusion_tag("components/search_field.html")
def search_field(bound: BoundField, placeholder: str = "") -> dict[str, Any]:
    """`{% search_field form.q placeholder="Node id" %}`: the input that the / key focuses."""
    if isinstance(bound.field.widget, TextInput):
        bound.field.widget.input_type = "search"  # as_widget() ignores a `type` among the attributes
    attrs: dict[str, str | bool] = {"class": "input ps-9 pe-9", "data-search": True}
    attrs["placeholder"] = placeholder
    return {"field": bound, "control": bound.as_widget(attrs=attrs)}


def _render(component: str, **context: object) -> SafeString:
    return render_to_string(f"components/{component}.html", context)
