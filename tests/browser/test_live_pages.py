"""Live pages do not disturb what a person is doing, nor the browser's history."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, Response, Route, expect

from tests.browser.agent import MakeAgent
from tests.browser.minute import Minute
from tests.browser.pages import node_row
from tests.browser.visitors import PAGE_TIMEOUT_MS, Visitors, has_stayed, stay, wait_in
from tests.web.arrival import arrival

LONGER_THAN_A_POLL_MS = 31_000


def is_at(query: str) -> re.Pattern[str]:
    return re.compile(re.escape(f"/nodes/{query}") + "$")


def poll_of(target: str) -> Callable[[Response], bool]:
    """An answer that fills the element with this id."""
    return lambda response: response.request.headers.get("hx-target") == target


def always_anew(page: Page) -> None:
    """Each poll gets a full answer, as if something had changed."""

    def ask(route: Route) -> None:
        headers = {name: value for name, value in route.request.headers.items() if name != "if-none-match"}
        route.continue_(headers=headers)

    page.route("**/nodes/**", ask)


def history_length(page: Page) -> int:
    return int(page.evaluate("history.length"))


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id"))


def test_polls_do_not_change_the_history_or_the_drawers_address(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    minute = Minute(page)
    page.goto("/nodes/")
    page.locator("#id_region").select_option("eu-central")
    expect(page).to_have_url(is_at("?region=eu-central"))
    length = history_length(page)
    with page.expect_response(poll_of("nodes-list")):
        minute.passes(2)
    page.locator(f"#open-{busy_node}").click()
    expect(page.locator("#drawer-title")).to_be_focused()
    assert history_length(page) == length + 1
    with page.expect_response(poll_of("nodes-list")) as polled:
        minute.passes(2)
    assert polled.value.status == 200
    assert history_length(page) == length + 1
    expect(page).to_have_url(is_at(f"{busy_node}/?tab=metrics"))
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url(is_at("?region=eu-central"))


def test_the_list_is_searched_while_it_is_typed(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    page.goto("/nodes/?sort=-p95")
    stay(page)
    length = history_length(page)
    page.keyboard.press("/")
    page.keyboard.type("no-such")
    expect(page).to_have_url(is_at("?q=no-such&sort=-p95"))
    expect(page.get_by_text("No matching nodes")).to_be_visible()
    for _ in "no-such":
        page.keyboard.press("Backspace")
    page.keyboard.type(busy_node)
    expect(page).to_have_url(is_at(f"?q={busy_node}&sort=-p95"))
    expect(page.locator("[data-list] [data-open]")).to_have_count(1)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Backspace")  # the caret is where it was
    expect(page).to_have_url(is_at(f"?q={busy_node[:-2]}{busy_node[-1]}&sort=-p95"))
    assert focused(page) == "id_q"
    assert page.evaluate("document.activeElement.selectionStart") == len(busy_node) - 2
    assert history_length(page) == length
    assert has_stayed(page)


def test_what_is_typed_while_an_answer_comes_is_kept_and_searched(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    page.goto("/nodes/")
    held: list[Route] = []
    page.route(re.compile(r"/nodes/\?q=busy&"), lambda route: held.append(route))
    page.keyboard.press("/")
    page.keyboard.type("busy")
    wait_in(page, lambda: held)
    page.keyboard.type("-no")
    held[0].continue_()
    expect(page).to_have_url(is_at("?q=busy-no"))
    expect(page.locator("#id_q")).to_have_value("busy-no")
    expect(page.locator("#id_q")).to_be_focused()
    page.keyboard.type("de")
    expect(page).to_have_url(is_at("?q=busy-node"))


def test_a_refresh_leaves_a_chart_that_is_read_and_what_is_open(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    page.clock.install()
    page.goto(f"/nodes/{busy_node}/")
    always_anew(page)
    chart = page.get_by_role("group", name=re.compile("Latency chart"))
    expect(chart).to_be_visible(timeout=4 * PAGE_TIMEOUT_MS)  # the first probe may be to come
    page.locator("summary", has_text="Show as table").focus()
    page.keyboard.press("Enter")
    table = page.get_by_role("columnheader", name="Median")
    expect(table).to_be_visible()
    page.clock.run_for(1500)  # the first tick sets the time of the first poll
    with page.expect_response(poll_of("node-charts")) as polled:
        page.clock.fast_forward(LONGER_THAN_A_POLL_MS)
    assert polled.value.status == 200
    page.wait_for_timeout(500)
    expect(table).to_be_visible()
    assert focused(page) == "latency-numbers-summary"
    chart.focus()
    page.keyboard.press("ArrowLeft")
    plot = focused(page)
    assert plot == "latency-24h-plot"
    chart.evaluate("element => { element.markedByTest = true }")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.headers.get("hx-target", "")))
    with page.expect_request(lambda request: request.headers.get("hx-target") == "node-tab"):
        page.clock.fast_forward(LONGER_THAN_A_POLL_MS)  # other parts go on
    page.clock.run_for(2500)
    assert "node-charts" not in asked
    assert focused(page) == plot
    assert chart.evaluate("element => element.markedByTest")
    with page.expect_response(poll_of("node-charts")):
        page.locator("#tab-metrics").focus()


def test_a_link_that_opens_the_drawer_opens_a_tab_with_a_modifier(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    page.goto("/nodes/")
    link = page.locator(f"#open-{busy_node}")
    with page.context.expect_page() as opened:
        link.click(modifiers=["Control"])
    expect(opened.value).to_have_url(is_at(f"{busy_node}/"))
    opened.value.close()
    with page.context.expect_page() as opened:
        link.click(button="middle")
    opened.value.close()
    with page.context.expect_page() as opened:
        page.locator("#sort-p95").click(modifiers=["Control"])
    expect(opened.value).to_have_url(is_at("?sort=-p95"))
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url(is_at(""))


def test_j_and_k_move_among_the_receipts_of_a_nodes_page(busy_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    page.goto(f"/nodes/{busy_node}/?tab=receipts")
    links = page.locator("#node-tab [data-open]")
    expect(links.nth(1)).to_be_visible()
    page.keyboard.press("j")
    expect(links.first).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/receipts/{busy_node}/"))


def test_a_reload_does_not_end_the_token_that_was_just_shown(agents: MakeAgent, visitors: Visitors) -> None:
    agents("rotated-node").start()
    page = visitors.sign_in("operator")
    page.goto("/nodes/?q=rotated")
    expect(node_row(page, "rotated-node")).to_be_visible()
    page.goto("/nodes/rotated-node/token/")
    page.get_by_label("Reason").fill("The old one leaked")
    with arrival(page):
        page.get_by_role("button", name="Create new token").click()
    expect(page.locator("#node-token")).to_be_visible()
    page.reload()
    expect(page).to_have_url(is_at("rotated-node/"))
    expect(page.get_by_role("heading", name="rotated-node", level=1)).to_be_visible()
    expect(page.locator("#node-token")).to_have_count(0)
