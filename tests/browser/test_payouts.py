"""What admins do with earnings in a browser: review of what is held, marking ready, a second admin, export, return."""

import csv
import re
from io import StringIO
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.console import RunningConsole
from tests.browser.earned import HELD, OWN_WALLET, Earned, dollars
from tests.browser.visitors import Visitors, sign_in, wait_in
from tests.web.arrival import arrival

RUN = "/earnings/run/"
OPEN = f"{RUN}?part=open"
# What a node earned: 40,000,000 input tokens at $0.5 and 500 output tokens at $1.5 per million.
ONE_USD = "$20.00"


def row_of(page: Page, text: str) -> Locator:
    return page.get_by_role("row").filter(has_text=text)


def prove(page: Page, password: str) -> None:
    """Fills in the page that asks for the password again."""
    expect(page.get_by_role("heading", name="Confirm it")).to_be_visible()
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Confirm and continue").click()


def test_an_admin_releases_held_receipts_by_keyboard(earned: Earned, visitors: Visitors) -> None:
    page = visitors.sign_in("admin")
    figures = f"/earnings/?org={earned['orgs'][HELD]}&from={earned['first_day']}&to={earned['last_day']}"
    page.goto(figures)
    expect(figure(page, "Held")).to_contain_text("$4.00")  # three of $1.00075 and a late one of as much
    expect(figure(page, "Fees")).to_contain_text("$0.00")

    page.goto("/earnings/review/")
    expect(row_of(page, "held-late")).to_be_visible()
    choose_by_keyboard(page, page.get_by_label("Cause", exact=True), "speed")
    expect(page).to_have_url(re.compile("cause=speed"))
    expect(row_of(page, "held-late")).to_have_count(0)
    for node in ("held-fast", "held-hasty"):
        page.get_by_role("checkbox", name=re.compile(f"Select {node},")).focus()
        page.keyboard.press("Space")
    page.get_by_role("button", name="Decide about selected…").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Decide about 3 held receipts")).to_be_visible()
    page.get_by_role("radio", name="Release: they are paid").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("A new accelerator, measured by us")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("listitem").filter(has_text="held-fast")).to_contain_text("Released")
    expect(page.get_by_role("listitem").filter(has_text="held-fast")).to_contain_text("2 receipts")

    page.goto("/earnings/review/")
    expect(row_of(page, "held-late")).to_be_visible()
    expect(row_of(page, "held-fast")).to_have_count(0)
    expect(row_of(page, "held-hasty")).to_have_count(0)
    page.goto(figures)
    expect(figure(page, "Held")).to_contain_text("$1.00")
    expect(figure(page, "Fees")).to_contain_text("$3.00")
    page.goto(f"{figures}&node=held-fast")
    expect(figure(page, "Fees")).to_contain_text("$2.00")
    expect(figure(page, "Available")).to_contain_text("$2.00")


def choose_by_keyboard(page: Page, select: Locator, value: str) -> None:
    """With the arrow keys. What is typed chooses by its words, but only as long as it is typed fast enough."""
    select.focus()
    for _ in range(select.locator("option").count()):
        if select.input_value() == value:
            return
        page.keyboard.press("ArrowDown")
    expect(select).to_have_value(value)


def figure(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name, exact=True)


@pytest.mark.timeout(900)
def test_nodes_are_marked_ready_confirmed_exported_and_returned(
    console: RunningConsole, earned: Earned, visitors: Visitors, tmp_path: Path
) -> None:
    admin = visitors.sign_in("admin")
    visitors.expect_complaint("403|422")  # the page that asks for the password, and a wrong one
    admin.goto(f"{RUN}?q=paid&show=eligible")
    for node in ("paid-one", "paid-two"):
        admin.get_by_role("checkbox", name=f"Select {node}").check()
    admin.get_by_role("button", name="Mark selected ready…").click()
    expect(admin.get_by_role("heading", name="Mark 2 nodes payout-ready")).to_be_visible()
    expect(row_of(admin, "paid-two")).to_contain_text(OWN_WALLET)
    expect(row_of(admin, "paid-one")).to_contain_text("Needed.")
    admin.get_by_label("Reason").fill("Payout of the month")
    admin.get_by_role("button", name="Mark ready").click()
    prove(admin, "not the password")
    expect(admin.get_by_role("alert")).to_contain_text("The password is wrong.")
    prove(admin, console.login("admin")["password"])
    expect(admin.get_by_role("heading", name="2 nodes marked")).to_be_visible()
    expect(admin.get_by_role("listitem").filter(has_text="paid-one")).to_contain_text("Waiting for a second")
    admin.get_by_role("link", name="Open payouts").click()
    expect(row_of(admin, "paid-one")).to_contain_text("Another admin confirms")
    expect(row_of(admin, "paid-one").get_by_role("link", name="Confirm…")).to_have_count(0)

    second = visitors.open()
    sign_in(second, **earned["second_admin"])
    for node in ("paid-one", "paid-two"):
        second.goto(OPEN)
        row = row_of(second, node)
        expect(row).to_contain_text("Payout of the month")
        row.get_by_role("link", name="Confirm…").click()
        second.get_by_role("button", name="Confirm", exact=True).click()
        if node == "paid-one":  # the proof then holds
            prove(second, earned["second_admin"]["password"])
        expect(second.get_by_text(f"The payout of {node} is ready.")).to_be_visible()
        expect(row_of(second, node)).to_contain_text(earned["second_admin"]["email"])

    second.get_by_role("link", name=re.compile(r"Export \d+ payouts…")).click()
    second.get_by_label("Reason").fill("The month's payout")
    second.get_by_role("button", name="Export", exact=True).click()
    with second.expect_download() as started:
        second.get_by_role("link", name="Download the file").click()
    started.value.save_as(tmp_path / "export.csv")
    with arrival(second):
        second.get_by_role("link", name="Its payments").click()
    rows = list(csv.DictReader(StringIO((tmp_path / "export.csv").read_text())))
    table = second.get_by_role("table", name="Payments")
    shown = [
        (
            dollars(row.locator("td").nth(0).inner_text()),
            row.locator("td [title]").first.get_attribute("title"),
        )
        for row in table.locator("tbody tr").all()
    ]
    assert shown == [(dollars(row["amount"]), row["address"]) for row in rows]
    assert (dollars(ONE_USD), OWN_WALLET) in shown
    total = f"{sum(dollars(row['amount']) for row in rows):,.2f}"
    expect(second.get_by_text(f"${total} in {len(rows)} payments")).to_be_visible()

    row_of(table.page, OWN_WALLET).get_by_role("link", name="Return…").click()
    second.get_by_label("Reason").fill("The wallet does not exist")
    second.get_by_role("button", name="Return", exact=True).click()
    expect(second.get_by_text(f"{ONE_USD} is returned and available again.")).to_be_visible()
    expect(row_of(second, OWN_WALLET)).to_contain_text("Returned")
    second.goto(f"{RUN}?q=paid-two")
    expect(row_of(second, "paid-two")).to_contain_text("Eligible")
    second.goto(f"{RUN}?q=paid-one")
    expect(row_of(second, "paid-one")).to_have_count(0)


def test_a_double_click_marks_a_node_once(
    console: RunningConsole, earned: Earned, visitors: Visitors
) -> None:
    page = visitors.sign_in("admin")
    page.goto("/account/confirm/")
    prove(page, console.login("admin")["password"])
    page.goto(f"{RUN}preview/?node=paid-twice")
    page.get_by_label("Reason").fill("Two clicks")
    sent: list[Route] = []
    page.route(
        "**/mark/", lambda route: sent.append(route)
    )  # so that the answer comes after the second click
    page.get_by_role("button", name="Mark ready").dblclick(delay=80)
    wait_in(page, lambda: sent)
    sent[0].continue_()
    expect(page.get_by_role("heading", name="1 node marked")).to_be_visible()
    assert len(sent) == 1
    page.goto(OPEN)
    expect(row_of(page, "paid-twice")).to_have_count(1)
    expect(row_of(page, "paid-twice")).to_contain_text(ONE_USD)


def test_a_node_is_marked_ready_without_a_script(
    console: RunningConsole, earned: Earned, visitors: Visitors
) -> None:
    page = visitors.sign_in("admin", javascript=False)
    visitors.expect_complaint("403")
    page.goto(RUN)
    page.get_by_label("Node", exact=True).fill("paid-plain")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile("q=paid-plain"))
    page.get_by_role("checkbox", name="Select paid-plain").check()
    page.get_by_role("button", name="Mark selected ready…").click()
    page.get_by_label("Reason").fill("Without a script")
    page.get_by_role("button", name="Mark ready").click()
    prove(page, console.login("admin")["password"])
    expect(page.get_by_role("listitem").filter(has_text="paid-plain")).to_contain_text("Ready")
    page.get_by_role("link", name="Open payouts").click()
    expect(row_of(page, "paid-plain")).to_contain_text("Without a script")
    expect(row_of(page, "paid-plain")).to_contain_text("Not needed")
