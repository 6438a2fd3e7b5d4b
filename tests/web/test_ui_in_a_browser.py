"""/ui/ in chromium: accessibility rules in both themes, and use by keyboard."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.web.accessibility import violations
from tests.web.in_chromium import CONSOLE, IN_CHROMIUM, answer_from_django

pytestmark = [*IN_CHROMIUM, pytest.mark.urls("tests.web.ui_urls")]


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 1440])
def test_every_component_keeps_the_rules_of_accessibility(
    open_page: Callable[..., Page], theme: str, width: int
) -> None:
    page = open_page("/ui/?toast=1", theme)
    page.set_viewport_size({"width": width, "height": 900})
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_drawer_opens_from_the_keyboard_and_gives_the_focus_back(open_page: Callable[..., Page]) -> None:
    page = open_page("/ui/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.id") == "open-row-2"
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] >> text=Public key")
    expect(page.locator("#drawer-title")).to_be_focused()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    expect(page.locator("#open-row-2")).to_be_focused()
    expect(page).to_have_url(f"{CONSOLE}/ui/")  # the dialog has not only closed, app.js also knows it
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "sample_q"


@pytest.mark.parametrize("width", [360, 1440])
def test_a_definition_opens_from_the_keyboard_within_the_window(
    open_page: Callable[..., Page], width: int
) -> None:
    page = open_page("/ui/")
    page.set_viewport_size({"width": width, "height": 740})
    page.get_by_role("button", name="What is Avg p95 (global)?").focus()
    page.keyboard.press("Enter")
    note = page.locator("#help-p95_global")
    assert note.is_visible()
    box = note.bounding_box()
    assert box is not None
    assert 0 <= box["x"] <= box["x"] + box["width"] <= width
    assert 0 <= box["y"] <= box["y"] + box["height"] <= 740
    assert violations(page) == []
    page.keyboard.press("Escape")
    assert not note.is_visible()
    assert page.evaluate("document.activeElement.getAttribute('popovertarget')") == "help-p95_global"


def test_a_definition_opens_without_a_script(complaints: list[str], browser: Browser) -> None:
    with browser.new_context(base_url=CONSOLE, java_script_enabled=False) as context:
        context.route("**/*", answer_from_django)
        page = context.new_page()
        page.goto("/ui/")
        page.get_by_role("button", name="What is Uptime (7 days)?").click()
        assert page.get_by_text("counted from its first minute on record").is_visible()


def test_the_theme_is_remembered_by_the_server(open_page: Callable[..., Page]) -> None:
    page = open_page("/ui/", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(11, 14, 19)"
    page.click("details[data-menu]:visible > summary")
    page.click("[data-theme-toggle]:visible")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(245, 246, 250)"
    page.reload()
    assert page.get_attribute("html", "data-theme") == "light"


def test_the_words_of_times_are_those_of_the_server(open_page: Callable[..., Page]) -> None:
    page = open_page("/ui/")
    before = page.locator("time[data-relative]").nth(-1).inner_text()
    assert before == "3 min ago"
    page.wait_for_function("() => document.querySelector('time[data-relative]').textContent !== '5 s ago'")
    assert page.locator("time[data-relative]").nth(-1).inner_text() == before


LIVE_PART = """() => {
    const part = document.createElement("div");
    part.id = "live";
    part.dataset.pollSeconds = "1";
    for (const [name, value] of [["hx-get", "/live/"], ["hx-trigger", "refresh"], ["hx-swap", "innerHTML"]])
        part.setAttribute(name, value);
    document.querySelector("main").append(part);
    htmx.process(part);
}"""


MODULE_PART = """() => {
    const part = Object.assign(document.createElement("div"), { id: "part" });
    part.dataset.module = "/a-module.js";
    document.querySelector("main").append(part);
    htmx.process(part);
    document.dispatchEvent(new CustomEvent("htmx:load", { detail: { elt: part } }));
}"""


def test_a_module_that_could_not_be_fetched_is_fetched_later(
    open_page: Callable[..., Page], complaints: list[str]
) -> None:
    page = open_page("/ui/")
    page.clock.install()
    script = "export default (part) => (part.textContent = 'equipped')"
    page.route("**/a-module.js", lambda route: route.fulfill(content_type="text/javascript", body=script))
    page.route("**/a-module.js", lambda route: route.abort(), times=1)
    with page.expect_event("requestfailed"):
        page.evaluate(MODULE_PART)
    while page.inner_text("#part") != "equipped":
        page.clock.run_for(1000)
    page.wait_for_selector("#part[data-equipped=ready]", state="attached")
    assert len(complaints) == 1  # the browser's own, of the request that failed
    complaints.clear()


def test_a_poll_asks_for_changes_and_a_304_leaves_the_page_unchanged(
    open_page: Callable[..., Page],
) -> None:
    page = open_page("/ui/")
    asked: list[str | None] = []

    def answer(route: Route) -> None:
        asked.append(route.request.headers.get("if-none-match"))
        if asked[-1] == '"one"':
            route.fulfill(status=304)
        else:
            news = '<span data-announce="2 open incidents">fresh</span>'
            route.fulfill(status=200, headers={"ETag": '"one"', "Content-Type": "text/html"}, body=news)

    page.route("**/live/", answer)
    page.evaluate(LIVE_PART)
    page.wait_for_selector("#live >> text=fresh")
    assert page.inner_text("#announcer") == "2 open incidents"
    with page.expect_response(lambda response: response.status == 304):
        pass
    assert asked[0] is None
    assert set(asked[1:]) == {'"one"'}
    assert page.inner_text("#live") == "fresh"


def test_a_part_may_be_asked_for_every_second_and_a_half(open_page: Callable[..., Page]) -> None:
    page = open_page("/ui/")
    page.clock.install(time=0)
    page.reload()
    page.clock.pause_at(60_000)
    page.route("**/live/", lambda route: route.fulfill(status=304))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(LIVE_PART.replace('"1"', '"1.5"'))
    page.clock.run_for(500)  # the tick that notices the part
    for turn in range(4):
        page.clock.run_for(1000)
        page.evaluate("null")  # a request would be known by now
        assert len(asked) == turn
        with page.expect_response("**/live/"):
            page.clock.run_for(500)


def test_a_morph_leaves_the_style_of_the_rest_of_the_page(open_page: Callable[..., Page]) -> None:
    page = open_page("/ui/")
    page.route("**/live/", lambda route: route.fulfill(content_type="text/html", body="<p>fresh</p>"))
    page.wait_for_load_state("networkidle")
    events: list[dict[str, Any]] = []
    devtools = page.context.browser.new_browser_cdp_session()  # type: ignore[union-attr]
    devtools.on("Tracing.dataCollected", lambda some: events.extend(some["value"]))
    ended: list[object] = []
    devtools.on("Tracing.tracingComplete", lambda each: ended.append(each))
    devtools.send("Tracing.start", {"categories": "devtools.timeline", "transferMode": "ReportEvents"})
    page.evaluate(LIVE_PART.replace("innerHTML", "morph"))
    page.wait_for_selector("#live >> text=fresh")
    page.evaluate("() => document.body.offsetHeight")
    devtools.send("Tracing.end")
    while not ended:
        page.wait_for_timeout(20)
    styled = [each["args"].get("elementCount", 0) for each in events if each["name"] == "UpdateLayoutTree"]
    assert styled
    assert max(styled) < page.evaluate("document.querySelectorAll('*').length") / 4


def test_a_poll_after_the_session_ended_leaves_the_page_and_offers_to_sign_in(
    open_page: Callable[..., Page], complaints: list[str]
) -> None:
    page = open_page("/ui/")
    page.route("**/live/", lambda route: route.fulfill(status=401, body="{}"))
    page.evaluate(LIVE_PART)
    said = page.locator("#toasts").get_by_text("Your session has ended.")
    said.wait_for()
    link = page.locator("#toasts").get_by_role("link", name="Sign in")
    assert link.get_attribute("href") == "/login/?next=%2Fui%2F"
    assert page.url.endswith("/ui/")
    complaints.clear()  # the browser itself notes the 401
