"""Earnings in a browser: from a figure to its receipts, the chart by keyboard, the wallet, and without a script."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.console import RunningConsole
from tests.browser.processes import wait_until
from tests.browser.visitors import Visitors
from tests.web.arrival import arrival

ADDRESS = "So11111111111111111111111111111111111111112"


@pytest.fixture
def earning_node(busy_node: str, visitors: Visitors) -> str:
    """The busy node, once some of its receipts have been accrued."""
    page = visitors.sign_in("operator")

    def accrued() -> int:
        page.goto(f"/earnings/receipts/?node={busy_node}&state=payable")
        return page.locator("[data-list] [data-open]").count()

    wait_until(accrued, within_seconds=60, what="a receipt is accrued")
    return busy_node


def test_a_figure_opens_its_receipts_and_each_its_rules(earning_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator")
    page.goto(f"/earnings/?node={earning_node}")
    with arrival(page):
        page.get_by_role("group", name="Fees", exact=True).get_by_role("link", name="Fees").click()
    expect(page.get_by_role("heading", name="Receipts behind a figure")).to_be_visible()
    expect(page.locator('[data-sum="payable"]')).to_contain_text("$")
    page.locator("[data-list] [data-open]").first.click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_text("Request succeeded", exact=True)).to_be_visible()
    expect(drawer.get_by_text("No finding of fraud", exact=True)).to_be_visible()
    drawer.get_by_role("link", name="The signed receipt").click()
    expect(page.get_by_text("checked just now")).to_be_visible()


def test_the_chart_is_read_by_arrow_keys(earning_node: str, visitors: Visitors) -> None:
    page = visitors.sign_in("operator", width=360)
    page.goto("/earnings/?step=hour")
    chart = page.get_by_role("group", name=re.compile("Earnings chart"))
    expect(chart).to_be_visible()
    chart.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#earnings-bars-plot")).to_be_focused()
    expect(page.locator("[data-readout]")).to_contain_text(re.compile(r"UTC \(running\): Fees .*\$"))


def test_without_a_script_the_chart_its_table_and_the_links_are_there(
    earning_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator", javascript=False)
    page.goto("/earnings/")
    expect(page.locator("#earnings-bars svg path").first).to_be_visible()
    page.locator("#step-hour").click()
    expect(page.locator("#step-hour")).to_have_attribute("aria-current", "true")
    page.locator("#earnings-numbers").click()
    expect(page.locator("#earnings-chart").get_by_text("running").first).to_be_visible()
    page.get_by_role("link", name="Set up the wallet").or_(
        page.get_by_role("link", name="Change and history")
    ).click()
    expect(page.get_by_role("heading", name="Wallet", exact=True)).to_be_visible()


def test_a_wallet_is_changed_and_the_change_is_stopped(
    busy_node: str, console: RunningConsole, visitors: Visitors
) -> None:
    page = visitors.sign_in("operator")
    password = console.login("operator")["password"]
    page.goto("/earnings/wallet/")
    page.get_by_role("textbox", name="Address").fill("So1111")
    page.get_by_label("Password").fill(password)
    visitors.expect_complaint("422")
    page.get_by_role("button", name="Change wallet").click()
    expect(page.locator("#id_address_error")).to_be_visible()
    for address in (ADDRESS, "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"):
        page.get_by_role("textbox", name="Address").fill(address)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Change wallet").click()
        expect(page.get_by_role("region", name="Wallets in use")).to_contain_text(address)
    page.get_by_role("link", name="Stop the change").click()
    page.get_by_label("Reason").fill("Nobody here did this")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Stop the change").click()
    expect(page.get_by_role("region", name="Wallets in use")).to_contain_text(ADDRESS)
