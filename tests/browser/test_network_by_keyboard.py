"""The Overview and the node list by keyboard, with live updates, and without JavaScript."""

import re

from playwright.sync_api import Page, expect

from tests.browser.minute import Minute
from tests.browser.pages import node_row
from tests.browser.visitors import Visitors, has_stayed, stay
from tests.web.arrival import arrival

MOST_TABS = 80


def tab_to(page: Page, element_id: str) -> None:
    """Presses Tab until the element has the focus."""
    for _ in range(MOST_TABS):
        if page.evaluate("document.activeElement.id") == element_id:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{element_id} cannot be reached with Tab")


def is_at(query: str) -> re.Pattern[str]:
    return re.compile(re.escape(f"/nodes/{query}") + "$")


def test_the_list_is_searched_sorted_and_kept_by_keyboard(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    with arrival(page):
        page.keyboard.press("g")
        page.keyboard.press("n")
    expect(page.get_by_role("heading", name="Nodes", level=1)).to_be_visible()
    stay(page)
    page.keyboard.press("/")
    page.keyboard.type(busy_node)
    page.keyboard.press("Enter")
    expect(page).to_have_url(is_at(f"?q={busy_node}"))
    expect(page.locator("[data-list] [data-open]")).to_have_count(1)
    expect(page.locator("#id_q")).to_be_focused()
    tab_to(page, "sort-p95")
    page.keyboard.press("Enter")
    expect(page).to_have_url(is_at(f"?q={busy_node}&sort=-p95"))
    expect(page.locator("th[aria-sort=descending]")).to_have_text(re.compile("p95"))
    assert has_stayed(page)
    page.locator("summary", has_text="View").focus()
    page.keyboard.press("Enter")
    tab_to(page, "view-name")
    page.keyboard.type("The busy one")
    page.keyboard.press("Enter")
    view = page.get_by_role("link", name="The busy one")
    expect(view).to_have_attribute("aria-current", "page")
    page.locator("summary", has_text="View").click()
    page.get_by_role("button", name="Delete the view The busy one").click()
    expect(view).to_have_count(0)


def test_a_definition_opens_and_closes_by_keyboard_and_survives_a_refresh(
    busy_node: str, visitors: Visitors
) -> None:
    page = visitors.open()
    minute = Minute(page)
    page.goto("/")
    button = page.get_by_role("button", name="What is Avg p95 (global)?")
    button.focus()
    page.keyboard.press("Enter")
    note = page.locator("#help-p95_global-kpi")
    expect(note).to_be_visible()
    expect(note).to_contain_text("are weighted by the requests")
    minute.passes(2)
    assert "overview-live" in minute.asked
    expect(note).to_be_visible()
    page.keyboard.press("Escape")
    expect(note).to_be_hidden()
    expect(button).to_be_focused()


def test_the_overview_follows_the_network_without_a_reload_or_a_shift(
    busy_node: str, visitors: Visitors
) -> None:
    page = visitors.open()
    page.add_init_script(
        "window.shifted = 0; new PerformanceObserver((list) => {"
        " for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;"
        "}).observe({type: 'layout-shift', buffered: true});"
    )
    page.goto("/")
    stay(page)
    requests = page.get_by_role("group", name="Requests (24h)").locator("p").first
    before = requests.text_content()
    expect(requests).not_to_have_text(str(before), timeout=30_000)
    assert has_stayed(page)
    assert page.evaluate("window.shifted") < 0.01


def test_without_a_script_the_list_is_sorted_laid_out_and_exported(
    busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator", javascript=False)
    page.goto("/nodes/")
    page.locator("#sort-reputation").click()
    expect(page).to_have_url(is_at("?sort=-reputation"))
    page.locator("summary", has_text="View").click()
    page.get_by_label("Models", exact=True).check()
    page.get_by_role("button", name="Show these columns").click()
    expect(page.get_by_role("columnheader", name="Models")).to_be_visible()
    page.locator("#id_status").select_option("active")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name=re.compile("Status: Active.*remove this filter")).click()
    expect(node_row(page, busy_node)).to_be_visible()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSV").click()
    assert busy_node in downloading.value.path().read_text()


def test_without_a_script_the_overview_turns_to_requests(busy_node: str, visitors: Visitors) -> None:
    page = visitors.open(javascript=False)
    page.goto("/")
    page.get_by_role("region", name="Regions by hour").first.get_by_role("link", name="Requests").click()
    expect(page).to_have_url(re.compile(r"/\?heat=requests#heat$"))
    expect(page.get_by_text("24 hours, UTC, requests")).to_be_visible()
