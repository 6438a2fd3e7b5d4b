"""Charts are drawn with the page: first by the server, and then by the script, which people zoom and point at."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.measuring import Measure
from tests.browser.visitors import PAGE_TIMEOUT_MS, Visitors

# Notes when the page first shows an element, in milliseconds from the start of the navigation.
_WATCH = """
(selector) => {
  const look = () => {
    if (window.__drawnAt === undefined && document.querySelector(selector)) window.__drawnAt = performance.now();
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true });
}
"""
PAGES = {
    "a node's latency": ("/nodes/{node}/", "[id^=latency-] .uplot canvas"),
    "earnings": ("/earnings/?step=hour", "#earnings-bars .uplot canvas"),
}


@pytest.mark.parametrize("what", PAGES)
def test_chart_is_drawn_with_the_page(
    busy_node: str, visitors: Visitors, measure: Measure, what: str
) -> None:
    path, selector = PAGES[what]
    page = visitors.sign_in("operator")
    page.goto(path.format(node=busy_node))
    expect(page.locator(selector).first).to_be_visible(
        timeout=4 * PAGE_TIMEOUT_MS
    )  # the first probe may be to come
    page.add_init_script(f"({_WATCH})({selector!r})")
    seconds = sorted(_drawn_after(page, path.format(node=busy_node), selector) for _ in range(3))
    measure(f"start of the page to its chart: {what}, median of 3", seconds[1])


def _drawn_after(page: Page, path: str, selector: str) -> float:
    page.goto(path)
    expect(page.locator(selector).first).to_be_visible()
    return float(page.evaluate("window.__drawnAt")) / 1000
