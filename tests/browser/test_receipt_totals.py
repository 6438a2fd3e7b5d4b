"""The totals and the histogram above the list of receipts: by mouse, by keyboard, without JavaScript, in any width."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import RunningConsole
from tests.browser.processes import wait_until
from tests.browser.test_receipt_list import open_list
from tests.browser.visitors import PAGE_TIMEOUT_MS, Visitors


def open_totals(page: Page, console: RunningConsole, node: str) -> int:
    """The list with its totals, in several bars. Returns how many receipts these count."""
    open_list(page, console, node)
    part = page.locator("#receipts-totals")

    def known() -> bool:
        if part.locator("#receipts-histogram svg a").count() > 1:
            return True
        page.wait_for_timeout(1_000)
        page.reload()
        page.wait_for_timeout(1_500)
        return False

    wait_until(known, within_seconds=100, what="totals in several bars")
    equipped(page)
    return counted(page)


def equipped(page: Page) -> None:
    """Waits until the histogram hears keys."""
    expect(page.locator("#receipts-histogram[data-reading]")).to_be_attached(timeout=PAGE_TIMEOUT_MS)


def counted(page: Page) -> int:
    text = page.locator("#receipts-totals dd").first.inner_text()
    return int(text.replace(",", ""))


def in_bars(page: Page) -> int:
    words: list[str] = page.locator("#receipts-histogram svg a").evaluate_all(
        "bars => bars.map((bar) => bar.getAttribute('aria-label'))"
    )
    found = [re.search(r": ([\d,]+) receipt", each) for each in words]
    return sum(int(each[1].replace(",", "")) for each in found if each)


@pytest.mark.parametrize("width", [360, 1440])
def test_strip_and_bars_count_the_same_receipts_and_nothing_jumps(
    console: RunningConsole, busy_node: str, visitors: Visitors, width: int
) -> None:
    page = visitors.sign_in("operator")
    page.set_viewport_size({"width": width, "height": 900})
    receipts = open_totals(page, console, busy_node)
    assert receipts == in_bars(page) > 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.add_init_script(
        "new PerformanceObserver((list) => { for (const each of list.getEntries())"
        " if (!each.hadRecentInput) window.shifted = (window.shifted ?? 0) + each.value })"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    page.reload()
    expect(page.locator("#receipts-histogram svg a").first).to_be_attached(timeout=PAGE_TIMEOUT_MS)
    page.wait_for_timeout(500)
    assert page.evaluate("window.shifted ?? 0") < 0.05


def test_the_keyboard_reads_bars_zooms_in_and_goes_back(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator")
    open_totals(page, console, busy_node)
    whole = page.url
    host, readout = page.locator("#receipts-histogram"), page.locator("#receipts-histogram-readout")
    host.focus()
    page.keyboard.press("End")
    expect(readout).to_have_text(re.compile(r"to .*: [\d,]+ receipts?$"))
    last = readout.inner_text()
    page.keyboard.press("ArrowLeft")
    expect(readout).not_to_have_text(last)
    page.keyboard.press("ArrowRight")
    expect(readout).to_have_text(last)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("from=.*&to="))
    equipped(page)
    expect(page.locator("#receipts-histogram")).to_be_focused()
    shown = counted(page)
    assert last.endswith(f": {shown:,} receipt{'' if shown == 1 else 's'}")
    page.keyboard.press("Escape")
    expect(page).to_have_url(whole)


def test_a_drag_sets_the_range_and_a_click_zooms_into_a_bar(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator")
    page.set_viewport_size({"width": 1440, "height": 900})
    open_totals(page, console, busy_node)
    whole = page.url
    box = page.locator("#receipts-histogram svg").bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 3, middle, steps=5)
    expect(page.locator(".histogram-chosen")).to_be_visible()
    page.mouse.up()
    expect(page).to_have_url(re.compile("from=.*&to="))
    equipped(page)
    assert counted(page) == in_bars(page)
    dragged = page.url
    bar = page.locator("#receipts-histogram svg a").last
    target = bar.get_attribute("href")
    assert target is not None
    bar.click()
    expect(page).not_to_have_url(dragged)
    equipped(page)
    page.keyboard.press("Escape")
    expect(page).to_have_url(dragged)
    equipped(page)
    page.keyboard.press("Escape")
    expect(page).to_have_url(whole)


def test_without_javascript_there_is_a_page_of_totals_whose_bars_are_links(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    open_totals(visitors.sign_in("operator"), console, busy_node)
    page = visitors.sign_in("operator", javascript=False)
    page.goto(f"/receipts/?node_id={busy_node}")
    page.get_by_role("link", name="Show totals").click()
    expect(page.get_by_role("heading", name="Totals of receipts")).to_be_visible()
    assert counted(page) == in_bars(page) > 0
    page.get_by_role("link", name="Show as table").click()
    expect(page.get_by_role("table", name="Receipts by time, newest first")).to_be_visible()
    page.locator("#receipts-histogram svg a").last.click()
    expect(page).to_have_url(re.compile(r"/receipts/\?.*from=.*&to="))
