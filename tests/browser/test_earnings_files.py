"""Files of earnings in a browser: an export with the page's filters, and the statement of a month."""

import csv
import hashlib
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.earned import Earned, dollars
from tests.browser.visitors import Visitors, sign_in

NODE = "filed-one"
# The widths of A4 between the statement's margins, in CSS pixels.
PORTRAIT, LANDSCAPE = 687, 1016


@pytest.fixture
def operator(earned: Earned, visitors: Visitors) -> Page:
    page = visitors.open()
    sign_in(page, **earned["operator"])
    return page


def exact(figure: Locator) -> Decimal:
    """A shown amount with every digit, which are in its title."""
    amount = figure.locator("span").last
    return dollars(amount.get_attribute("title") or amount.inner_text())


def downloaded(page: Page, link: Locator, path: Path) -> bytes:
    with page.expect_download() as started:
        link.click()
    started.value.save_as(path)
    return path.read_bytes()


def test_a_file_has_the_rows_and_the_sum_of_the_page(earned: Earned, operator: Page, tmp_path: Path) -> None:
    page = operator
    page.goto(f"/earnings/?node={NODE}&from={earned['first_day']}&to={earned['last_day']}")
    page.get_by_role("group", name="Fees", exact=True).get_by_role("link", name="Fees").click()
    behind = page.locator("[data-list] tr")
    expect(behind).to_have_count(4)
    sum_shown = exact(page.locator('[data-sum="payable"]'))
    page.go_back()
    page.get_by_role("link", name="Export", exact=True).click()
    page.get_by_label("Table").select_option(label="Receipts")
    page.get_by_label("Receipts", exact=True).select_option("payable")
    body = downloaded(page, page.get_by_role("button", name="Download"), tmp_path / "receipts.csv")
    rows = list(csv.DictReader(StringIO(body.decode("utf-8-sig"))))
    assert [row["node_id"] for row in rows] == [NODE] * 4
    assert sum(Decimal(row["fee_usd"]) for row in rows) == sum_shown

    page.get_by_label("Receipts", exact=True).select_option("")
    page.get_by_label("Table").select_option(label="Nodes")
    page.get_by_label("Node", exact=True).fill("")
    body = downloaded(page, page.get_by_role("button", name="Download"), tmp_path / "nodes.csv")
    by_node = {row["node_id"]: row for row in csv.DictReader(StringIO(body.decode("utf-8-sig")))}
    assert set(by_node) == {NODE, "filed-two"}
    assert Decimal(by_node[NODE]["fees_usd"]) == sum_shown


def test_a_statement_prints_within_its_paper_and_is_the_same_twice(
    earned: Earned, operator: Page, tmp_path: Path
) -> None:
    page = operator
    page.goto("/earnings/")
    page.get_by_role("link", name="Statements").click()
    row = page.locator(f"#statement-{earned['month']}")
    make = row.get_by_role("button", name="Make it now")
    expect(make.or_(row.get_by_text("Final", exact=True))).to_be_visible()
    if make.count():  # otherwise the console's daily job came first
        make.click()
    expect(row.get_by_text("Final", exact=True)).to_be_visible()
    sha256 = row.locator(".font-mono").get_attribute("title")
    link = row.get_by_role("link", name="Download")
    first, again = (downloaded(page, link, tmp_path / f"{number}.html") for number in (1, 2))
    assert first == again
    assert hashlib.sha256(first).hexdigest() == sha256

    row.get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Statement, ")).to_be_visible()
    expect(page.get_by_role("heading", name="Preliminary")).to_have_count(0)
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert not scrolls_sideways(page), f"at {width} px"
    page.emulate_media(media="print")
    page.set_viewport_size({"width": LANDSCAPE, "height": 700})
    assert not scrolls_sideways(page), "the landscape pages"
    page.set_viewport_size({"width": PORTRAIT, "height": 1000})
    too_wide = page.evaluate(
        "[...document.querySelectorAll('main > :not(.wide)')]"
        ".filter((each) => each.scrollWidth > document.documentElement.clientWidth).map((each) => each.innerText)"
    )
    assert too_wide == []


def scrolls_sideways(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
