"""The list of receipts does not move while it is read, and is walked with the keyboard over the ends of its pages."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.console import RunningConsole
from tests.browser.pages import RECEIPTS_PER_PAGE as PER_PAGE
from tests.browser.processes import wait_until
from tests.browser.visitors import PAGE_TIMEOUT_MS, Visitors, has_stayed, stay
from tests.web.arrival import wait_until_it_hears

FIRST_PAGE = """() => [
    [...document.querySelectorAll("main [data-list] [data-open]")].map((row) => row.getAttribute("href")),
    document.querySelector("main a[rel=next]").href,
]"""


def open_list(page: Page, console: RunningConsole, node: str, *, at_least: int = PER_PAGE) -> Locator:
    """The links of the rows of a list of at least so many receipts."""
    path = f"/v1/receipts?node_id={node}&limit=200"
    wait_until(
        lambda: len(console.get_json(path)["results"]) >= at_least, within_seconds=90, what="enough receipts"
    )
    page.goto(f"/receipts/?node_id={node}")
    stay(page)
    return page.locator("main [data-list] [data-open]")


def news(page: Page) -> Locator:
    return page.locator(".new-rows button")


def receipts_shown(rows: Locator) -> list[str]:
    return [str(each) for each in rows.evaluate_all("rows => rows.map((row) => row.getAttribute('href'))")]


def test_what_is_new_is_announced_while_somebody_reads_and_comes_on_request(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator")
    rows = open_list(page, console, busy_node)
    first = rows.first
    expect(first).not_to_have_text(
        first.inner_text(), timeout=PAGE_TIMEOUT_MS
    )  # nobody is at it: it goes on live
    expect(news(page)).to_have_count(0)

    page.keyboard.press("j")
    expect(first).to_be_focused()
    before = receipts_shown(rows)[:PER_PAGE]  # scrolling brings more
    expect(news(page)).to_have_text(re.compile("^[0-9]+ new receipts?$"), timeout=PAGE_TIMEOUT_MS)
    expect(news(page)).to_have_text(
        re.compile("^([2-9]|[1-9][0-9]) new receipts$"), timeout=2 * PAGE_TIMEOUT_MS
    )
    assert receipts_shown(rows)[:PER_PAGE] == before
    expect(first).to_be_focused()
    live = page.locator("[data-news-of]")
    assert live.get_attribute("aria-live") == "polite"

    news(page).click()
    expect(news(page)).to_have_count(0)
    shown = receipts_shown(rows)
    assert shown[0] not in before
    assert len(shown) >= PER_PAGE

    assert has_stayed(page)


def test_the_list_goes_on_by_itself_once_nobody_is_at_it(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator")
    rows = open_list(page, console, busy_node)
    page.locator("[data-list] > *").nth(3).hover()  # about to click a row
    page.wait_for_timeout(100)
    before = receipts_shown(rows)[:PER_PAGE]  # the hover may scroll, and scrolling brings more
    expect(news(page)).to_be_visible(timeout=PAGE_TIMEOUT_MS)
    assert receipts_shown(rows)[:PER_PAGE] == before
    page.mouse.move(0, 0)
    expect(news(page)).to_have_count(0, timeout=PAGE_TIMEOUT_MS)  # by itself, once nobody is at it
    assert receipts_shown(rows)[:PER_PAGE] != before

    page.keyboard.press("j")
    expect(news(page)).to_be_visible(timeout=PAGE_TIMEOUT_MS)
    page.keyboard.press("Escape")  # leaves the list
    expect(news(page)).to_have_count(0, timeout=PAGE_TIMEOUT_MS)
    assert has_stayed(page)


def test_a_list_that_is_scrolled_or_selected_in_stays(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator")
    page.set_viewport_size({"width": 360, "height": 640})
    rows = open_list(page, console, busy_node)
    page.mouse.move(0, 0)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.locator(".table-scroll").evaluate("element => { element.scrollTop = 200 }")
    before = receipts_shown(rows)[:PER_PAGE]  # more are appended, since it is scrolled
    expect(news(page)).to_be_visible(timeout=PAGE_TIMEOUT_MS)
    expect(news(page)).to_be_in_viewport()
    assert receipts_shown(rows)[:PER_PAGE] == before
    news(page).click()
    expect(news(page)).to_have_count(0)
    assert page.locator(".table-scroll").evaluate("element => element.scrollTop") == 0

    page.evaluate("scrollTo(0, 0)")
    rows.nth(2).evaluate("element => getSelection().selectAllChildren(element)")
    before = receipts_shown(rows)[:PER_PAGE]
    expect(news(page)).to_be_visible(timeout=PAGE_TIMEOUT_MS)
    assert receipts_shown(rows)[:PER_PAGE] == before
    assert page.evaluate("getSelection().toString()")


def test_the_menus_of_the_list_fit_into_a_narrow_window(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator", width=360)
    open_list(page, console, busy_node, at_least=1)
    for words in ("Find by file", "Views"):
        page.get_by_text(words, exact=True).click()
        box = page.locator("main details[open] > .menu").bounding_box()
        assert box is not None
        assert box["x"] >= 0, words
        assert box["x"] + box["width"] <= 360, words
        page.keyboard.press("Escape")


def test_j_and_k_walk_over_the_ends_of_pages(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator")
    rows = open_list(page, console, busy_node, at_least=2 * PER_PAGE + 1)
    page.keyboard.press("j")
    shown = receipts_shown(rows)[:PER_PAGE]
    for _ in range(PER_PAGE - 1):
        page.keyboard.press("j")
    expect(rows.nth(PER_PAGE - 1)).to_be_focused()
    page.keyboard.press("j")
    expect(rows.nth(PER_PAGE)).to_be_focused()
    longer = receipts_shown(rows)
    assert longer[:PER_PAGE] == shown
    assert len(longer) == len(set(longer)) >= 2 * PER_PAGE
    page.wait_for_timeout(2500)  # refreshes leave them
    assert receipts_shown(rows)[: len(longer)] == longer
    expect(rows.nth(PER_PAGE)).to_be_focused()
    page.keyboard.press("k")
    expect(rows.nth(PER_PAGE - 1)).to_be_focused()

    page.goto(f"/receipts/?node_id={busy_node}")
    first_page, second_page = page.evaluate(FIRST_PAGE)
    page.goto(second_page)
    assert not set(receipts_shown(rows)) & set(first_page)
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(rows.nth(PER_PAGE - 1)).to_be_focused()  # the page before was put in front
    assert receipts_shown(rows)[:PER_PAGE] == first_page


def test_the_drawer_shows_the_next_receipt_over_the_end_of_the_page(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator")
    rows = open_list(page, console, busy_node, at_least=PER_PAGE + 2)
    address = page.url
    rows.nth(PER_PAGE - 2).click()
    title = page.locator("#drawer-title")
    expect(title).to_be_focused()
    shown = receipts_shown(rows)[:PER_PAGE]  # more may have come, as the click scrolled the list

    def expect_drawer_at(path: str) -> None:
        expect(page).to_have_url(re.compile(re.escape(path) + "$"))
        expect(title).to_have_text(path.strip("/").split("/")[-1])
        expect(title).to_be_focused()

    expect_drawer_at(shown[PER_PAGE - 2])
    page.keyboard.press("j")
    expect_drawer_at(shown[PER_PAGE - 1])
    page.keyboard.press("j")
    expect(title).not_to_have_text(shown[PER_PAGE - 1].strip("/").split("/")[-1])
    expect(rows).not_to_have_count(PER_PAGE)
    longer = receipts_shown(rows)
    assert longer[:PER_PAGE] == shown
    expect_drawer_at(longer[PER_PAGE])
    page.keyboard.press("k")
    page.keyboard.press("k")  # in quick succession
    expect_drawer_at(shown[PER_PAGE - 2])
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url(address)
    expect(rows.nth(PER_PAGE - 2)).to_be_focused()
    page.keyboard.press("Enter")
    expect_drawer_at(shown[PER_PAGE - 2])
    assert has_stayed(page)


def test_a_file_that_is_chosen_or_dropped_leads_to_its_receipt(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator")
    rows = open_list(page, console, busy_node, at_least=1)
    path = receipts_shown(rows)[0]
    raw = console.get(f"/v1{path.rstrip('/')}/raw").content
    page.get_by_text("Find by file").click()
    wait_until_it_hears(page)
    page.get_by_label("Receipt file").set_input_files(
        {"name": "receipt.json", "mimeType": "application/json", "buffer": raw}
    )
    expect(page).to_have_url(re.compile(re.escape(path) + "$"))
    page.go_back()
    wait_until_it_hears(page)
    drop = """([text]) => {
      const files = new DataTransfer();
      files.items.add(new File([text], "dropped.json", { type: "application/json" }));
      const target = document.querySelector("main");
      for (const type of ["dragover", "drop"])
        target.dispatchEvent(new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(drop, [raw.decode()])
    expect(page).to_have_url(re.compile(re.escape(path) + "$"))
    page.goto("/receipts/~file/")
    wait_until_it_hears(page)
    page.evaluate(drop, [raw.decode() + "\n"])
    expect(page.get_by_text("The bytes differ")).to_be_visible()
