"""The components, and the rules that every template follows."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.core.paginator import Paginator
from django.db import connection
from django.http import HttpRequest
from django.template import RequestContext, Template, TemplateSyntaxError
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils.safestring import mark_safe

from jatevo.overview.shades import SHADES
from jatevo.web.figures import Figure
from jatevo.web.pages import csrf_failure, server_error, unavailable_page
from jatevo.web.templatetags import charts, moments, numbers
from jatevo.web.templatetags.rendered_once import rendered_once
from jatevo.web.templatetags.tones import CHIPS, Chip, Tone
from jatevo.web.ui import SampleForm
from nodes.rules.lifecycle import Status

TEMPLATES = settings.BASE_DIR / "templates"
TOKENS = settings.BASE_DIR / "deploy" / "css" / "src" / "tokens.css"
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def rendered(source: str, request: HttpRequest | None = None, **context: object) -> str:
    """The template's text with its white space collapsed."""
    html = Template("{% load ui %}" + source).render(RequestContext(request or HttpRequest(), context))
    return " ".join(html.split())


# --- colours


def tokens() -> dict[str, tuple[str, str]]:
    """name → (light, dark)"""
    pairs = re.findall(r"--color-([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", TOKENS.read_text())
    return {name: (light, dark) for name, light, dark in pairs}


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("shade", range(1, SHADES + 1))
def test_every_shade_stands_out_from_the_panel_and_its_words_from_it(shade: int, theme: int) -> None:
    ground, words = tokens()[f"heat-{shade}"][theme], tokens()[f"on-heat-{shade}"][theme]
    assert contrast(ground, tokens()["panel"][theme]) >= 3
    assert contrast(words, ground) >= 4.5
    if shade > 1:
        assert contrast(ground, tokens()[f"heat-{shade - 1}"][theme]) >= 1.4


STATES = ("ok", "warn", "bad", "idle", "info")
WORDS = [
    *product(("text", "muted", "primary", "accent", *STATES), ("bg", "panel", "raised")),
    *[(state, f"{state}-ground") for state in STATES],
    *[("text", f"{state}-ground") for state in STATES],
    ("on-primary", "primary"),
    ("on-primary", "primary-hover"),
]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("words", "ground"), WORDS)
def test_words_stand_out_from_their_ground(words: str, ground: str, theme: int) -> None:
    assert contrast(tokens()[words][theme], tokens()[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["bg", "panel"])
@pytest.mark.parametrize("line", ["field", "primary"])
def test_inputs_and_focus_rings_can_be_made_out(line: str, ground: str, theme: int) -> None:
    assert contrast(tokens()[line][theme], tokens()[ground][theme]) >= 3


def test_the_dark_theme_has_the_colours_of_the_prd() -> None:
    wanted = {
        "bg": "#0b0e13",
        "panel": "#121622",
        "stroke": "#1e2433",
        "text": "#f2f4f8",
        "muted": "#9ea7b3",
        "primary": "#6b7cff",
        "accent": "#22ce9a",
    }
    assert {name: tokens()[name][1] for name in wanted} == wanted


# --- rules of templates


def sources() -> list[Path]:
    return sorted(TEMPLATES.rglob("*.html"))


# A file of its own, which carries its style and is served with a policy that allows just that
# (tests/earnings/statements holds it).
DOCUMENTS = {"earnings/statements/document.html"}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_no_template_needs_what_the_content_security_policy_forbids(path: Path) -> None:
    source = path.read_text()
    assert not re.search(r"\sstyle\s*=", source)
    assert not re.search(r"\son[a-z]+\s*=|\bhx-on|javascript:", source)
    assert "<style" not in source or str(path.relative_to(TEMPLATES)) in DOCUMENTS
    assert all("src=" in tag or "application/json" in tag for tag in re.findall(r"<script[^>]*>", source))
    assert not re.search(r"""(src|href)="(https?:)?//""", source)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_no_part_refreshes_by_the_browsers_address(path: Path) -> None:
    """While a drawer is open, the browser's address is that of another page: see `live_part`."""
    source = path.read_text()
    for address in re.findall(r"""\bhx-get\s*=\s*["']([^"']?)""", source):
        assert address not in ("", "?", "#", ".")
    assert not re.search(r"\bhx-(get|trigger)(?=[\s>])(?!\s*=)", source)
    if path.name != "live_part.html":
        assert "data-poll-seconds" not in source
        assert not re.search(r"hx-trigger\s*=\s*[\"'][^\"']*\b(refresh|every)\b", source)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_rows_of_lists_have_ids(path: Path) -> None:
    """With ids, a refresh distinguishes rows that moved from new ones, and keeps a selection."""
    for row in re.findall(r"data-list>\s*(?:\{%[^%]*%\}\s*)*(<(?:tr|li)[^>]*>)", path.read_text()):
        assert " id=" in row


@pytest.mark.parametrize("address", ["", "?tab=metrics", "receipts/", "//elsewhere.example/"])
def test_a_live_part_without_an_address_of_its_own_is_an_error(address: str) -> None:
    with pytest.raises(ValueError, match="its own address"):
        rendered('{% live_part id="a" url=address every=5 %}{% endlive_part %}', address=address)


def test_a_live_part_without_an_interval_sends_no_requests() -> None:
    still = rendered('{% live_part id="a" url="/a/" every=None %}words{% endlive_part %}')
    assert still == '<div id="a">words</div>'
    live = rendered('{% live_part id="a" url=url every=5 %}words{% endlive_part %}', url="/a/?b=1&c=2")
    assert 'hx-get="/a/?b=1&amp;c=2"' in live
    assert 'data-poll-seconds="5"' in live


@pytest.mark.django_db
@pytest.mark.urls("tests.web.ui_urls")
def test_every_component_is_shown_on_the_ui_page(settings: Any) -> None:
    settings.DEBUG = True  # as where the page exists; then no rendering is kept from earlier pages
    client = Client()
    used = set()
    for path in ("/ui/?toast=1", "/ui/drawer/"):
        answer = client.get(path)
        assert answer.status_code == 200
        used |= {template.name for template in answer.templates}
    assert {f"components/{path.name}" for path in (TEMPLATES / "components").glob("*.html")} <= used


def test_text_is_escaped_although_the_same_text_was_shown_as_safe_html_before() -> None:
    assert rendered("{% badge label %}", label=mark_safe("<i>new</i>")) != rendered(
        "{% badge label %}", label="<i>new</i>"
    )
    assert "&lt;i&gt;new&lt;/i&gt;" in rendered("{% badge label %}", label="<i>new</i>")


def test_a_component_is_rendered_once_for_the_same_arguments_and_anew_for_others(settings: Any) -> None:
    calls = []

    @rendered_once("components/chip.html")
    def chip(label: str) -> dict[str, Any]:
        calls.append(label)
        return {"chip": Chip(label, "", Tone.OK)}

    assert chip("one") == chip("one") != chip("two")
    assert calls == ["one", "two"]
    settings.DEBUG = True
    assert chip("one") == chip("one")
    assert calls == ["one", "two", "one", "one"]


def test_options_mark_the_chosen_one_and_escape_labels() -> None:
    html = rendered("{% options choices chosen %}", choices=[(1, "A & B"), (2, "C")], chosen=2)
    assert html == '<option value="1">A &amp; B</option><option value="2" selected>C</option>'
    assert "selected" not in rendered("{% options choices missing.pk %}", choices=[(1, "A"), (2, "C")])


def test_a_number_cell_leads_to_its_url_and_without_one_nowhere() -> None:
    linked = rendered("{% usd_cell amount url %}", amount=Decimal(2), url='/?a=1&b="')
    assert linked == (
        '<td class="num"><a class="link" href="/?a=1&amp;b=&quot;"><span class="whitespace-nowrap">$2.00</span></a></td>'
    )
    assert rendered("{% count_cell 1234 '' %}") == '<td class="num">1,234</td>'


def test_a_menu_entry_escapes_its_label_and_its_address() -> None:
    html = rendered("{% menu_link label 'key' url download=True %}", label="A & B", url="/?a&b")
    assert html.startswith('<li><a class="nav-link" href="/?a&amp;b" download><svg')
    assert html.endswith("A &amp; B</a></li>")


def test_cells_names_a_column_without_a_partial() -> None:
    with pytest.raises(KeyError, match="no-such"):
        rendered('{% cells columns "nodes/list/cells.html" %}', columns=[SimpleNamespace(key="no-such")])
    with pytest.raises(TemplateSyntaxError):
        rendered("{% cells columns %}")


@pytest.mark.parametrize(
    ("cookie", "theme"), [("", "dark"), ("light", "light"), ("system", "system"), ('"><b>', "dark")]
)
def test_the_server_renders_the_chosen_theme(cookie: str, theme: str) -> None:
    client = Client()
    client.cookies["theme"] = cookie
    assert f'data-theme="{theme}"' in client.get("/nowhere/").content.decode()


# --- words


@pytest.mark.parametrize("status", Status)
def test_every_status_has_its_chip(status: Status) -> None:
    assert CHIPS[status].label == status.label
    html = rendered("{% status_chip status %}", status=status)
    assert status.label in html
    assert "<svg" in html  # text and an icon, never only a colour


@pytest.mark.parametrize(
    ("status", "tone"), [("pending", "idle"), ("active", "ok"), ("quarantine", "warn"), ("offline", "bad")]
)
def test_the_prd_names_the_tones_of_statuses(status: str, tone: str) -> None:
    assert f'class="chip tone-{tone}"' in rendered("{% status_chip status %}", status=status)


def test_an_unknown_status_is_shown_and_escaped() -> None:
    assert "&lt;b&gt;" in rendered("{% status_chip status %}", status="<b>")


@pytest.mark.parametrize(("valid", "word"), [(True, "Valid"), (False, "Invalid"), (None, "Not verified")])
def test_the_verify_badge_has_a_text(valid: bool | None, word: str) -> None:
    assert f"{word}</span>" in rendered("{% verify_badge valid %}", valid=valid)


def test_an_unknown_icon_is_an_error() -> None:
    with pytest.raises(TemplateSyntaxError, match="no-such-icon"):
        rendered('{% icon "no-such-icon" %}')


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "now"),
        (0.9, "now"),
        (5, "5 s ago"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (86400 * 3, "3 d ago"),
        (-90, "in 1 min"),
    ],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    assert moments.ago(NOW - timedelta(seconds=seconds), at=NOW) == words


def test_a_time_carries_the_exact_moment() -> None:
    html = rendered("{% when moment %}", moment=NOW)
    assert 'datetime="2026-03-04T12:00:00Z"' in html
    assert 'title="4 Mar 2026, 12:00:00 UTC"' in html
    assert "never" in rendered("{% when moment %}", moment=None)


def test_numbers_that_are_not_known_are_dashes() -> None:
    for words in (numbers.count, numbers.decimals, numbers.percent, numbers.milliseconds):
        assert words(None) == "—"
    assert numbers.count(0) == "0"
    assert numbers.count(1234567) == "1,234,567"
    assert numbers.percent(0.421) == "42.1 %"
    assert (numbers.milliseconds(4.25), numbers.milliseconds(1310.4)) == ("4.2 ms", "1,310 ms")


@pytest.mark.parametrize("zero", [-0.0, -0.004, Decimal("-0.00"), -1e-9])
def test_a_number_that_is_shown_as_zero_has_no_sign(zero: float) -> None:
    assert numbers.milliseconds(zero) == "0.0 ms"
    assert (numbers.decimals(zero, 1), numbers.percent(zero, 0), numbers.short(zero)) == ("0.0", "0 %", "0")
    assert numbers.decimals(-0.05, 2) == "-0.05"
    assert numbers.count(-1234) == "-1,234"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), Decimal("NaN")])
def test_what_is_no_number_is_unknown(value: float) -> None:
    for words in (numbers.count, numbers.decimals, numbers.percent, numbers.milliseconds, numbers.short):
        assert words(value) == "—"


def test_a_card_distinguishes_known_zero_unknown_and_stale() -> None:
    source = '{% kpi "Requests" figure hint="of today" %}'
    zero = rendered(source, figure=Figure.of(0, as_of=NOW))
    assert "> 0 <" in zero
    assert "of today" in zero
    unknown = rendered(source, figure=Figure.of(None, as_of=NOW, if_none="No store"))
    assert "unknown" in unknown
    assert "No store" in unknown
    assert "> 0 <" not in unknown
    stale = rendered(source, figure=Figure.of(12, as_of=NOW).aged("Store is down"))
    assert "> 12 <" in stale
    assert "Stale" in stale
    assert "Store is down" in stale


def test_a_figure_cannot_be_unknown_and_have_a_value() -> None:
    with pytest.raises(ValueError, match="unknown"):
        Figure(None, NOW)
    assert Figure.of(None, as_of=NOW).aged("down").state == "unknown"


# --- charts


def test_a_sparkline_lies_between_its_ground_and_its_top() -> None:
    (line,) = charts.sparkline_of([0, 5, 10]).lines
    assert line == "0.0,30.0 60.0,16.0 120.0,2.0"


def test_a_sparkline_leaves_a_gap_for_what_is_not_known() -> None:
    assert len(charts.sparkline_of([1, 2, None, 4, 5]).lines) == 2


@pytest.mark.parametrize("values", [[], [None], [3], [0, 0]])
def test_a_sparkline_of_little_is_drawn_too(values: list[float | None]) -> None:
    known = [value for value in values if value is not None]
    assert len(charts.sparkline_of(values).lines) == (1 if known else 0)


def test_shares_are_of_the_largest() -> None:
    assert charts.shares([50, None, 200]) == [25.0, None, 100.0]
    assert charts.shares([0, 0]) == [0.0, 0.0]


# --- forms and lists


def test_a_field_ties_its_label_help_and_errors_to_the_input() -> None:
    form = SampleForm({"node_id": ""}, auto_id="f_%s")
    html = rendered("{% field form.node_id %}", form=form)
    assert 'for="f_node_id"' in html
    assert 'aria-invalid="true"' in html
    described = re.search(r'aria-describedby="([^"]+)"', html)
    assert described
    for target in described[1].split():
        assert f'id="{target}"' in html
    assert "This field is required." in html


def test_pages_keep_the_other_parameters() -> None:
    request = RequestFactory().get("/nodes/", {"status": "active", "page": "2"})
    page = Paginator(range(100), 25).page(2)
    html = rendered("{% pagination page %}", page=page, request=request)
    assert 'href="/nodes/?status=active&amp;page=3"' in html
    assert "26 to 50 of 100" in html


def test_one_page_needs_no_pagination() -> None:
    assert rendered("{% pagination page %}", page=Paginator(range(3), 25).page(1)) == ""


def test_a_cursor_leads_on_and_back_to_the_start() -> None:
    request = RequestFactory().get("/receipts/", {"q": "r_1", "cursor": "here"})
    html = rendered("{% cursor_pagination cursor %}", cursor="there", request=request)
    assert 'href="/receipts/?q=r_1&amp;cursor=there"' in html
    assert 'href="/receipts/?q=r_1"' in html


def test_a_code_block_shows_text_as_it_is() -> None:
    assert "&lt;script&gt;" in rendered("{% code_block text %}", text="<script>")


# --- error pages


def test_error_pages_name_the_request_and_touch_no_database(db: None) -> None:
    client = Client()
    with CaptureQueriesContext(connection) as queries:
        answer = client.get("/nowhere/", headers={"x-request-id": "asked-by-test"})
        request = RequestFactory().get("/")
        pages: list[Any] = [answer, server_error(request), unavailable_page(request), csrf_failure(request)]
    assert len(queries) == 0
    assert [page.status_code for page in pages] == [404, 500, 503, 403]
    for page in pages:
        assert "asked-by-test" in page.content.decode()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (41, "41 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (7_260, "2 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_how_long_something_took(seconds: float, words: str) -> None:
    assert moments.duration(timedelta(seconds=seconds)) == words
