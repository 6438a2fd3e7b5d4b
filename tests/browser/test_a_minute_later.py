"""After a minute of refreshes, pages are complete, and the person's work and the history are not disturbed.

The browser's clock is advanced, and every refresh gets a full answer, as if something had changed each time.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.console import RunningConsole
from tests.browser.minute import STEPS, Minute
from tests.browser.pages import RECEIPTS_PER_PAGE
from tests.browser.test_every_page import Place, open_place, operators_places, strangers_places
from tests.browser.visitors import PAGE_TIMEOUT_MS, Visitors, has_stayed, stay

# What a person may be doing: text selected in the main part, a popover, every <details> open, a focused link, all scrolled.
OCCUPY = """() => {
  const scope = document.querySelector("dialog[open]") ?? document.querySelector("main");
  const details = [...scope.querySelectorAll("details")];
  for (const each of details) each.open = true;
  const scrollers = [scope, document.scrollingElement, ...scope.querySelectorAll(".table-scroll")];
  for (const each of scrollers) each.scrollTop = 3;
  const links = [...scope.querySelectorAll("a[href][id], input[id], summary, a[href]")].filter((each) => each.checkVisibility());
  const active = links[Math.min(2, links.length - 1)];
  active?.focus({ preventScroll: true });
  const help = [...scope.querySelectorAll("[popover]")].at(-1);
  help?.showPopover();
  const words = scope.querySelector("[data-open][id]") ?? [...scope.querySelectorAll("h2, h1")].filter((each) => each.textContent.trim()).at(-1);
  if (words) getSelection().selectAllChildren(words);
  window.occupied = { active: document.activeElement, details, help, words, text: getSelection().toString(), url: location.href,
    scrolled: scrollers.map((each) => [each, each.scrollTop]), history: history.length };
  return window.occupied.text;
}"""
LOST = """() => {
  const { active, details, help, words, text, url, scrolled, history: length } = window.occupied;
  const left = words?.id && !document.getElementById(words.id); // its row is on the next page by now
  const lost = [];
  if (document.activeElement !== active) lost.push(`the focus, now on ${document.activeElement.outerHTML.slice(0, 120)}`);
  if (details.some((each) => !each.isConnected || !each.open)) lost.push("an opened <details>");
  if (help && !(help.isConnected && help.matches(":popover-open"))) lost.push("an open popover");
  if (!left && getSelection().toString() !== text) lost.push(`the selection of ${text}, now ${getSelection()}`);
  for (const [each, top] of scrolled) if (!each.isConnected || each.scrollTop < Math.min(top, 3)) lost.push(`the scroll position of ${each.outerHTML.slice(0, 90)}`);
  if (location.href !== url) lost.push(`the address ${url}, now ${location.href}`);
  if (history.length !== length) lost.push("the history");
  return lost;
}"""
TORN = """() => {
  const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
  const twice = [...new Set(ids.filter((id, index) => ids.indexOf(id) !== index))];
  const torn = twice.map((id) => `id ${id} twice`);
  for (const name of ["main", "nav[aria-label=Main]", "h1"]) {
    const count = document.querySelectorAll(name).length;
    if (name.startsWith("nav") ? count > 2 : count !== 1) torn.push(`${count} of ${name}`);
  }
  return torn;
}"""


def problems_after_a_minute(minute: Minute, name: str) -> list[str]:
    """What was lost or broken on the current page after a minute."""
    page = minute.page
    live = page.evaluate("[...document.querySelectorAll('[data-poll-seconds]')].map((each) => each.id)")
    steps = STEPS if live else 1  # nothing changes a page without live parts, unless a script does it at once
    minute.passes(1)  # the first tick sets the time of the first refresh
    page.evaluate(OCCUPY)
    minute.asked.clear()
    minute.passes(steps)
    silent = [part for part in live if part not in minute.asked]
    found = [*page.evaluate(LOST), *page.evaluate(TORN), *(f"{part} never asked" for part in silent)]
    page.evaluate("window.occupied.help?.hidePopover()")
    return [f"{name}: {problem}" for problem in found]


def problems_of(minute: Minute, places: Iterator[Place]) -> list[str]:
    problems = []
    for place in places:
        open_place(minute.page, place)
        problems += problems_after_a_minute(minute, place.name)
    return problems


def viewers_places() -> Iterator[Place]:
    yield Place("Overview of a viewer", "/", "Active nodes")
    yield Place("Nodes of a viewer", "/nodes/", "No nodes are shared")
    yield Place("Receipts of a viewer", "/receipts/", "No receipts are shared")
    yield Place("Status of a viewer", "/status/", "Availability by region")


def admins_places(node: str, receipt: str) -> Iterator[Place]:
    yield Place("Overview of an admin", "/", "p95 by region")
    yield Place("Nodes of an admin", "/nodes/?sort=-p95", node)
    yield Place("Node of an admin", f"/nodes/{node}/", "Latest probes")
    yield Place("Receipts of an admin", "/receipts/", node)
    yield Place("Receipt of an admin", receipt, "checked just now")


def a_receipt(page: Page, node: str) -> str:
    """The address of one of the node's receipts in the list."""
    page.goto(f"/receipts/?node_id={node}")
    expect(page.locator("[data-list] [data-open]").first).to_be_visible(timeout=2 * PAGE_TIMEOUT_MS)
    return str(page.locator("[data-list] [data-open]").first.get_attribute("href"))


@pytest.mark.timeout(1800)
def test_every_page_is_whole_after_a_minute_and_keeps_what_a_person_is_at(
    busy_node: str, visitors: Visitors
) -> None:
    problems = problems_of(Minute(visitors.open()), strangers_places())
    problems += problems_of(Minute(visitors.sign_in("viewer")), viewers_places())
    page = visitors.sign_in("operator")
    receipt = a_receipt(page, busy_node)
    problems += problems_of(Minute(page), operators_places(busy_node, receipt))
    problems += problems_of(Minute(visitors.sign_in("admin")), admins_places(busy_node, receipt))
    assert problems == [], "\n".join(problems)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", ["/receipts/", "/nodes/", "/nodes/?region=eu-central&sort=-p95"])
def test_a_drawer_stays_over_the_list_that_it_was_opened_from(
    busy_node: str, visitors: Visitors, path: str
) -> None:
    page = visitors.sign_in("operator")
    a_receipt(page, busy_node)
    minute = Minute(page)
    page.goto(path)
    stay(page)
    address = page.url
    # by its id, because another row may come first meanwhile
    opener_id = page.locator("[data-list] [data-open]").first.get_attribute("id")
    opener = page.locator(f"[id='{opener_id}']")
    opener.click()
    expect(page.locator("#drawer-title")).to_be_focused()
    expect(page.get_by_role("dialog")).not_to_contain_text("Loading…")  # which has a title as well
    problems = problems_after_a_minute(minute, "drawer")
    if "nodes" in path:
        for tab in ("receipts", "hardware", "metrics"):
            page.locator(f"#drawer #tab-{tab}").click()
            expect(page).to_have_url(re.compile(f"tab={tab}"))
            problems += problems_after_a_minute(minute, f"drawer, {tab}")
    shown = page.url
    assert problems == []
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url(address)
    expect(opener).to_be_focused()
    assert page.evaluate("document.querySelectorAll('main [data-list] [data-open]').length") > 0
    page.go_forward()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page).to_have_url(shown)
    minute.passes(2)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url(address)
    minute.passes(2)
    assert page.evaluate(TORN) == []
    assert has_stayed(page)


def test_receipts_that_come_in_are_announced_under_an_open_drawer(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    a_receipt(page, busy_node)
    page.goto("/receipts/")
    page.locator("#id_node_id").fill(busy_node)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"node_id={busy_node}"))
    rows = page.locator("main [data-list] [data-open]")
    page.mouse.move(0, 0)
    before = rows.all_inner_texts()
    expect(rows.first).not_to_have_text(before[0], timeout=PAGE_TIMEOUT_MS)  # nobody reads yet
    rows.first.click()
    expect(page.locator("#drawer-title")).to_be_focused()
    before = rows.all_inner_texts()[
        :RECEIPTS_PER_PAGE
    ]  # the click may have scrolled, and scrolling brings more
    expect(page.locator(".new-rows button")).to_contain_text("new receipt", timeout=PAGE_TIMEOUT_MS)
    assert rows.all_inner_texts()[:RECEIPTS_PER_PAGE] == before
    assert page.evaluate(TORN) == []


@pytest.mark.timeout(900)
def test_an_answer_that_is_no_part_leaves_the_page_as_it_is(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    a_receipt(page, busy_node)
    minute = Minute(page)
    answer: dict[str, Any] = {}

    def spoil(route: Route) -> None:
        if answer and route.request.headers.get("hx-target") == "receipts-list":
            route.fulfill(content_type="text/html", **answer)
        else:
            route.fallback()

    page.route("**/receipts/**", spoil)
    whole = "<!doctype html><html><body><main id='main'>another page</main></body></html>"
    for status, said in (
        (403, "answered 403"),
        (429, "answered 429"),
        (500, "answered 500"),
        (503, "answered 503"),
        (200, "could not be refreshed"),
        (401, "session has ended"),
    ):
        visitors.expect_complaint(str(status))
        answer.clear()
        page.goto(f"/receipts/?node_id={busy_node}")
        stay(page)
        answer.update(status=status, body=whole, headers={"retry-after": "20"} if status == 429 else {})
        minute.passes(2)
        expect(page.locator("#toasts")).to_contain_text(said)
        assert page.locator("#toasts > *").count() == 1  # said once, however often it was asked
        assert page.evaluate(TORN) == []
        assert page.locator("main [data-list] [data-open]").count() > 0
        assert has_stayed(page)
    minute.asked.clear()
    minute.passes()
    assert "receipts-list" not in minute.asked  # who is signed out is not asked for in vain
    link = page.locator("#toasts a")
    assert f"next=%2Freceipts%2F%3Fnode_id%3D{busy_node}" in str(link.get_attribute("href"))


def test_after_the_session_ends_the_page_stays_until_a_click(
    busy_node: str, console: RunningConsole, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator")
    a_receipt(page, busy_node)
    minute = Minute(page)
    page.goto("/receipts/")
    stay(page)
    page.context.clear_cookies()
    minute.passes(2)
    expect(page.locator("#toasts")).to_contain_text("Your session has ended")
    assert page.evaluate(TORN) == []
    assert has_stayed(page)
    page.locator("[data-list] [data-open]").first.click()
    expect(page.get_by_role("heading", name="Sign in to Jatevo")).to_be_visible()


def test_after_an_error_a_part_asks_less_often_and_recovers(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    a_receipt(page, busy_node)
    minute = Minute(page)
    page.goto("/receipts/")
    visitors.expect_complaint("503")
    down = [True]

    def fail(route: Route) -> None:
        if down and route.request.headers.get("hx-target") == "receipts-list":
            route.fulfill(status=503, body="")
        else:
            route.fallback()

    page.route("**/receipts/**", fail)
    minute.passes(12)
    asked = minute.asked.count("receipts-list")
    assert 2 <= asked <= 9  # 1, 2, 4, 8, 16, 32 s apart, and not each second
    down.clear()
    minute.passes(7)
    asked = minute.asked.count("receipts-list")
    minute.passes(3)
    assert minute.asked.count("receipts-list") >= asked + 3
