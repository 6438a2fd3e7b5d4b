"""A node in the drawer: address, back button and charts, by keyboard. Also its page without JavaScript."""

import re

from playwright.sync_api import Page, expect

from tests.browser.pages import node_row
from tests.browser.visitors import PAGE_TIMEOUT_MS, Visitors, has_stayed, stay


def open_by_keyboard(page: Page, node_id: str) -> None:
    """Opens the drawer from the list: to the node's row with Tab or j, then Enter."""
    page.goto("/nodes/")
    expect(node_row(page, node_id)).to_be_visible()
    stay(page)
    for _ in range(30):
        page.keyboard.press("j")
        if page.evaluate("document.activeElement.id") == f"open-{node_id}":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.locator("#drawer-title")).to_be_focused()


def is_at(path: str) -> re.Pattern[str]:
    return re.compile(re.escape(path) + "$")


def test_the_drawer_has_the_nodes_address_and_back_closes_it(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    open_by_keyboard(page, busy_node)
    expect(page).to_have_url(is_at(f"/nodes/{busy_node}/?tab=metrics"))
    page.locator("#tab-reputation").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("region", name="Reputation", exact=True)).to_be_visible()
    expect(page).to_have_url(is_at(f"/nodes/{busy_node}/?tab=reputation"))
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url(is_at("/nodes/"))
    expect(page.locator(f"#open-{busy_node}")).to_be_focused()
    page.go_forward()
    expect(page.get_by_role("dialog").get_by_role("region", name="Reputation", exact=True)).to_be_visible()
    assert has_stayed(page)
    page.reload()
    expect(page.get_by_role("heading", name=busy_node, level=1)).to_be_visible()
    expect(page.locator("#tab-reputation")).to_have_attribute("aria-current", "page")
    page.go_back()
    expect(page.get_by_role("heading", name="Nodes", level=1)).to_be_visible()


def test_escape_closes_the_drawer_and_leaves_the_list_as_it_was(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    open_by_keyboard(page, busy_node)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url(is_at("/nodes/"))
    expect(page.locator(f"#open-{busy_node}")).to_be_focused()
    assert has_stayed(page)


def test_a_chart_is_drawn_read_by_arrow_keys_and_follows_the_theme(
    busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator", width=360)
    page.goto(f"/nodes/{busy_node}/")
    chart = page.get_by_role("group", name=re.compile("Latency chart"))
    expect(chart).to_be_visible(timeout=4 * PAGE_TIMEOUT_MS)  # the first probe may be to come
    chart.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[data-readout]")).to_contain_text(re.compile(r"UTC: p50 .* ms, p95 .* ms"))
    for tab in ("metrics", "receipts", "hardware", "earnings", "reputation", "history"):
        box = page.locator(f"#tab-{tab}").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360, f"{tab} is cut off"


def test_without_a_script_both_windows_and_all_actions_are_there(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator", javascript=False)
    page.goto(f"/nodes/{busy_node}/")
    page.get_by_role("link", name="7 days", exact=True).click()
    expect(page.locator("#window-7d")).to_have_attribute("aria-current", "true")
    page.locator("summary", has_text="Manage").click()
    page.get_by_role("link", name="Maintenance", exact=True).click()
    page.get_by_label("Description").fill("A new fan")
    page.get_by_role("button", name="Announce maintenance").click()
    expect(page.get_by_text("A new fan.")).to_be_visible()
    page.get_by_role("link", name="End it").click()
    page.get_by_role("button", name="End maintenance").click()
    expect(page.get_by_text("Missing heartbeats count again")).to_be_visible()
    expect(page.get_by_text("A new fan.")).to_have_count(0)
    page.locator("summary", has_text="Manage").click()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Agent configuration").click()
    assert downloading.value.suggested_filename == "agent.yaml"
