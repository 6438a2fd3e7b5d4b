"""Rules for every page: accessible in both themes, no browser errors, no horizontal scrolling."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import RunningConsole
from tests.browser.processes import wait_until
from tests.browser.visitors import PAGE_TIMEOUT_MS, Visitors
from tests.web.accessibility import violations
from tests.web.arrival import arrival

ALL_COLUMNS = "status,region,runtime,reputation,p95,uptime,earnings,heartbeat,models,gpu,agent,energy,since"
NARROW = 360
WIDE = 1440
HEIGHT = 900
ABOUT_COLOUR = ["color-contrast", "link-in-text-block"]


@dataclass(frozen=True)
class Place:
    """A page, and the text that identifies it."""

    name: str
    path: str
    words: str


@pytest.mark.timeout(900)
def test_pages_are_accessible_in_both_themes_and_fit_a_telephone(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    problems = []
    stranger = visitors.open()
    for place in strangers_places():
        problems += problems_of(stranger, place)
    page = visitors.sign_in("operator")
    page.goto(f"/receipts/?node_id={busy_node}")
    expect(page.locator("[data-list] [data-open]").first).to_be_visible(timeout=2 * PAGE_TIMEOUT_MS)
    receipt = str(page.locator("[data-list] [data-open]").last.get_attribute("href"))
    expect_judged(page, receipt)
    for place in operators_places(busy_node, receipt):
        problems += problems_of(page, place)
    for path in console.work("tests.browser.refused"):
        problems += problems_of(page, Place("Refused receipt", path, "First difference at byte"))
    problems += problems_of(page, Place("Refused receipts", "/receipts/~refused/", "kept as evidence"))
    problems += problems_of_the_enrolment(page)
    admin = visitors.sign_in("admin")
    for place in admins_places():
        problems += problems_of(admin, place)
    visitors.expect_complaint("404")  # the page that says so is one of the pages
    problems += problems_of(page, Place("404", "/nodes/no-such-node/", "Page not found"))
    assert problems == []


def expect_judged(page: Page, receipt: str) -> None:
    """Waits until the receipt is judged: accrual runs every ten seconds."""
    payment = page.get_by_role("link", name="Details")

    def judged() -> int:
        page.goto(receipt)
        return payment.count()

    wait_until(judged, within_seconds=60, what="the receipt is judged")


def strangers_places() -> Iterator[Place]:
    yield Place("Login", "/login/", "Sign in to Jatevo")
    yield Place("Overview of a stranger", "/", "Active nodes")
    yield Place("Overview by requests", "/?heat=requests", "24 hours, UTC, requests")
    yield Place("Nodes of a stranger", "/nodes/", "No nodes are shared")
    yield Place("Status", "/status/", "Availability by region")
    yield Place("Verify a receipt", "/verify/", "Nothing has been checked yet.")
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
    yield Place("Export receipts", f"/receipts/~export/?node_id={node}", "Accepted before")
    yield Place("Earnings", "/earnings/", "This month so far")
    yield Place("Earnings by hour and node", "/earnings/?step=hour&by=node", "Over time")
    yield Place("Receipts behind a figure", "/earnings/receipts/", "Sums")
    yield Place("Receipt as an amount", f"/earnings{receipt}", "Rules")
    yield Place("Wallet", "/earnings/wallet/", "Change the wallet")
    yield Place("Run a Node, platform", "/run-a-node/", "Pick a platform")
    yield Place("Run a Node, form", "/run-a-node/?platform=nvidia", "Create the command")
    yield Place("Password", "/password/", "Confirm new password")


def admins_places() -> Iterator[Place]:
    yield Place("Confirm it is you", "/account/confirm/", "Confirm and continue")
    yield Place("Payout run", "/earnings/run/", "The console itself pays nobody")
    yield Place("Open payouts", "/earnings/run/?part=open", "Waiting for a second admin")
    yield Place("Export files", "/earnings/run/?part=files", "An export file lists what each wallet is paid")
    yield Place("Review", "/earnings/review/", "held until an admin decides")
    yield Place("Disputes", "/earnings/review/disputes/", "where no gateway says")


def problems_of(page: Page, place: Place) -> list[str]:
    open_place(page, place)
    return problems_of_what_is_open(page, place.name)


def open_place(page: Page, place: Place) -> None:
    """Opens the page, again if it has not waited for ClickHouse: the answer is kept for the next time."""
    words = page.get_by_text(place.words).first

    def is_shown() -> bool:
        page.goto(place.path)
        with suppress(AssertionError):
            expect(words).to_be_visible(timeout=PAGE_TIMEOUT_MS / 4)
        return words.is_visible()

    wait_until(is_shown, within_seconds=60, what=f"{place.name} shows “{place.words}”")


def problems_of_the_enrolment(page: Page) -> list[str]:
    """The problems of the last steps of Run a Node, with everything unfolded."""
    page.goto("/run-a-node/?platform=linux")
    page.get_by_label("Region").fill("us-west")
    with arrival(page):
        page.get_by_role("button", name="Create the command").click()
    expect(page.locator("#install-command")).to_be_visible()
    for summary in page.locator("main summary").all():
        summary.click()
    expect(page.locator("#service-commands")).to_be_visible()
    return problems_of_what_is_open(page, "Run a Node, enrolment")


def problems_of_what_is_open(page: Page, name: str) -> list[str]:
    """What axe-core finds on the page at both widths, and whether it scrolls horizontally on a phone.

    Themes differ in colour only, so in the light one, only the rules about colour are tried.
    """
    problems = []
    for width in (NARROW, WIDE):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        problems += [f"{name}, {width} px: {each}" for each in violations(page)]
        if width == NARROW and (wanted := page.evaluate("document.scrollingElement.scrollWidth")) > NARROW:
            problems.append(f"{name} is {wanted} px wide on a screen of {NARROW} px")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    problems += [f"{name}, light: {each}" for each in violations(page, only=ABOUT_COLOUR)]
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    return problems
