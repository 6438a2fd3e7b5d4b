"""Rules for every page: accessible in both themes, no browser errors, no horizontal scrolling."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.visitors import PAGE_TIMEOUT_MS, Visitors

ALL_COLUMNS = "status,region,runtime,reputation,p95,uptime,earnings,heartbeat,models,gpu,agent,energy,since"
NARROW = 360
WIDE = 1440
HEIGHT = 900


@dataclass(frozen=True)
class Place:
    """A page, and the text that identifies it."""

    name: str
    path: str
    words: str


@pytest.mark.timeout(300)
def test_pages_are_accessible_in_the_dark_and_fit_a_telephone(busy_node: str, visitors: Visitors) -> None:
    assert problems_of_all_pages("dark", (NARROW, WIDE), busy_node, visitors) == []


@pytest.mark.timeout(300)
def test_pages_are_accessible_in_the_light(busy_node: str, visitors: Visitors) -> None:
    # Themes differ in colour and widths in layout: both widths in one theme are enough.
    assert problems_of_all_pages("light", (WIDE,), busy_node, visitors) == []


def problems_of_all_pages(theme: str, widths: Sequence[int], busy_node: str, visitors: Visitors) -> list[str]:
    problems = []
    stranger = visitors.open(theme=theme)
    for place in strangers_places():
        problems += problems_of(stranger, place, widths)
    page = visitors.sign_in("operator", theme=theme)
    page.goto(f"/receipts/?node_id={busy_node}")
    expect(page.locator("[data-list] [data-open]").first).to_be_visible(timeout=2 * PAGE_TIMEOUT_MS)
    receipt = str(page.locator("[data-list] [data-open]").last.get_attribute("href"))
    expect_judged(page, receipt)
    for place in operators_places(busy_node, receipt):
        problems += problems_of(page, place, widths)
    problems += problems_of_the_enrolment(page, widths)
    admin = visitors.sign_in("admin", theme=theme)
    for place in admins_places():
        problems += problems_of(admin, place, widths)
    visitors.expect_complaint("404")  # the page that says so is one of the pages
    problems += problems_of(page, Place("404", "/nodes/no-such-node/", "Page not found"), widths)
    return problems


def expect_judged(page: Page, receipt: str) -> None:
    """Waits until the receipt is judged: accrual runs every ten seconds."""
    page.goto(receipt)
    payment = page.get_by_role("link", name="Details")
    for _ in range(6):
        if payment.count():
            return
        page.wait_for_timeout(PAGE_TIMEOUT_MS / 4)
        page.reload()
    expect(payment).to_be_visible()


def strangers_places() -> Iterator[Place]:
    yield Place("Login", "/login/", "Sign in to Jatevo")
    yield Place("Overview of a stranger", "/", "Active nodes")
    yield Place("Overview by requests", "/?heat=requests", "24 hours, UTC, requests")
    yield Place("Nodes of a stranger", "/nodes/", "No nodes are shared")
    yield Place("Status", "/status/", "Availability by region")
    yield Place("Incidents", "/status/history/", "Incidents")


def operators_places(node: str, receipt: str) -> Iterator[Place]:
    yield Place("Overview", "/", "p95 by region")
    yield Place("Nodes", "/nodes/", node)
    yield Place("Nodes, all columns", f"/nodes/?columns={ALL_COLUMNS}&sort=-p95", node)
    yield Place("Nodes, none found", "/nodes/?q=no-such-node", "No matching nodes")
    yield Place("Node, metrics", f"/nodes/{node}/", "Latest probes")
    yield Place("Node, receipts", f"/nodes/{node}/?tab=receipts", "Latest receipts")
    yield Place("Node, hardware", f"/nodes/{node}/?tab=hardware", "Public keys")
    yield Place("Node, a week of metrics", f"/nodes/{node}/?window=7d", "by hour: median p50")
    yield Place("Node, earnings", f"/nodes/{node}/?tab=earnings", "Latest days")
    yield Place("Node, reputation", f"/nodes/{node}/?tab=reputation", "From 0 to 100, over 14 days")
    yield Place("Node, maintenance", f"/nodes/{node}/maintenance/", "Announce maintenance")
    yield Place("Node, sharing", f"/nodes/{node}/sharing/", "What viewers and visitors see")
    yield Place("Node, new token", f"/nodes/{node}/token/", "Create new token")
    yield Place("Node, history", f"/nodes/{node}/?tab=history", "First heartbeat")
    yield Place("Receipts", "/receipts/", node)
    yield Place("Receipt", receipt, "checked just now")
    yield Place("Earnings", "/earnings/", "This month so far")
    yield Place("Earnings by hour and node", "/earnings/?step=hour&by=node", "Over time")
    yield Place("Receipts behind a figure", "/earnings/receipts/", "Sums")
    yield Place("Receipt as an amount", f"/earnings{receipt}", "Rules")
    yield Place("Wallet", "/earnings/wallet/", "Change the wallet")
    yield Place("Run a Node, platform", "/run-a-node/", "Pick a platform")
    yield Place("Run a Node, form", "/run-a-node/?platform=nvidia", "Create agent.yaml")
    yield Place("Password", "/password/", "Confirm new password")


def admins_places() -> Iterator[Place]:
    yield Place("Confirm it is you", "/account/confirm/", "Confirm and continue")
    yield Place("Payout run", "/earnings/run/", "The console itself pays nobody")
    yield Place("Open payouts", "/earnings/run/?part=open", "Waiting for a second admin")
    yield Place("Export files", "/earnings/run/?part=files", "An export file lists what each wallet is paid")
    yield Place("Review", "/earnings/review/", "held until an admin decides")
    yield Place("Disputes", "/earnings/review/disputes/", "where no gateway says")


def problems_of(page: Page, place: Place, widths: Sequence[int]) -> list[str]:
    page.goto(place.path)
    expect(page.get_by_text(place.words).first).to_be_visible()
    return problems_of_what_is_open(page, place.name, widths)


def problems_of_the_enrolment(page: Page, widths: Sequence[int]) -> list[str]:
    """The problems of the last steps of Run a Node, with the token on the page."""
    page.goto("/run-a-node/?platform=linux")
    page.get_by_label("Region").fill("us-west")
    page.get_by_role("button", name="Create agent.yaml").click()
    expect(page.get_by_text("This token is shown only once")).to_be_visible()
    return problems_of_what_is_open(page, "Run a Node, enrolment", widths)


def problems_of_what_is_open(page: Page, name: str, widths: Sequence[int]) -> list[str]:
    """What axe-core finds on the page at these widths, and whether it scrolls horizontally on a phone."""
    problems = []
    for width in widths:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        found = Axe().run(page)
        problems += [
            f"{name}, {width} px: {rule['id']}: {[node['html'] for node in rule['nodes']]}"
            for rule in found.response["violations"]
        ]
        if width == NARROW and (wanted := page.evaluate("document.scrollingElement.scrollWidth")) > NARROW:
            problems.append(f"{name} is {wanted} px wide on a screen of {NARROW} px")
    return problems
