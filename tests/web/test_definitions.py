"""Definitions of figures: stated once, found by key, and readable behind a "?"."""

import re

import pytest
from django.template import Context, Template

from jatevo.overview import definitions as of_network
from jatevo.web.definitions import Definition, define, every_definition, find
from nodes import definitions as of_nodes


def rendered(source: str, **context: object) -> str:
    return " ".join(Template("{% load ui %}" + source).render(Context(context)).split())


def test_every_figure_is_defined_whole() -> None:
    assert len(every_definition()) >= 14
    for definition in every_definition():
        assert re.fullmatch(r"[a-z0-9_]+", definition.key)
        assert definition.title and definition.window and definition.source
        assert definition.text.endswith(".")
        assert not definition.window.endswith(".") and not definition.source.endswith(".")
        assert "  " not in definition.sentence


def test_definitions_of_all_apps_are_found_by_key() -> None:
    assert find("p95_global") is of_network.P95_GLOBAL
    assert find("reputation") is of_nodes.REPUTATION
    with pytest.raises(KeyError):
        find("luck")


def test_a_key_has_one_definition() -> None:
    known = of_network.ACTIVE_NODES
    again = {"text": known.text, "window": known.window, "source": known.source}
    assert define(known.key, known.title, **again) == known
    with pytest.raises(ValueError, match="active_nodes has two definitions"):
        define(known.key, "Nodes that run", **again)
    assert find("active_nodes") is known


def test_help_is_a_button_that_opens_the_note_beside_it() -> None:
    html = rendered('{% help "p95_global" %}')
    button, note = re.findall(r"<(button|span)([^>]*)>", html)[1], re.search(r"<span[^>]*popover[^>]*>", html)
    assert button[0] == "button"
    assert 'type="button"' in button[1]
    assert 'popovertarget="help-p95_global"' in button[1]
    assert 'aria-label="What is Avg p95 (global)?"' in button[1]
    assert note is not None
    assert 'id="help-p95_global"' in note[0]
    for words in (of_network.P95_GLOBAL.window, of_network.P95_GLOBAL.source, "t-digest"):
        assert words in html
    assert "style=" not in html
    assert "<script" not in html


def test_the_same_help_twice_on_a_page_has_two_ids() -> None:
    html = rendered('{% help "p95_global" %}{% help "p95_global" place="chart" %}')
    assert sorted(re.findall(r' id="([^"]+)"', html)) == ["help-p95_global", "help-p95_global-chart"]
    assert sorted(re.findall(r'popovertarget="([^"]+)"', html)) == [
        "help-p95_global",
        "help-p95_global-chart",
    ]


def test_a_definition_of_ones_own_is_shown_as_text() -> None:
    own = Definition("mine", "<b>Mine</b>", "Two & two.", "now", "thin air")
    html = rendered("{% help definition %}", definition=own)
    assert "&lt;b&gt;Mine&lt;/b&gt;" in html
    assert "<b>" not in html
