"""While PostgreSQL hangs, pages stay with a note, and new ones say so. Afterwards everything works again."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console import RunningConsole
from tests.browser.visitors import HEIGHT, Visitors, has_stayed, stay
from tests.stopping import stopped

SAYS_SO = "database is not responding"


def postgresql_pid(home: Path) -> int:
    return int(json.loads((home / "run" / "children" / "postgres.json").read_text())["pid"])


def assert_whole(page: Page) -> None:
    expect(page.locator("main")).to_have_count(1)
    expect(page.locator("nav[aria-label=Main]:visible")).to_have_count(1)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.timeout(900)
def test_pages_say_that_the_database_is_away_and_come_back(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    visitors.expect_complaint("503")  # what a browser says of such an answer
    visitors.expect_complaint("htmx:responseError|Response Status Error Code")
    live = visitors.sign_in("operator", width=1440)
    live.goto("/nodes/")
    expect(live.get_by_role("link", name=busy_node, exact=True)).to_be_visible()
    stay(live)
    other = visitors.sign_in("operator", width=360)

    with stopped(postgresql_pid(console.home)):
        note = live.locator("#toasts").get_by_text(SAYS_SO)
        expect(note).to_be_visible()
        expect(live.get_by_role("link", name=busy_node, exact=True)).to_be_visible()
        assert_whole(live)

        live.get_by_role("link", name=busy_node, exact=True).click()  # its drawer cannot be filled
        expect(live.locator("dialog[open]")).to_have_count(0)
        expect(note).to_have_count(1)
        assert_whole(live)

        other.goto("/receipts/")
        expect(other.get_by_role("heading", name=SAYS_SO)).to_be_visible()
        expect(other.locator("main")).to_have_count(1)
        for width in (360, 1440):
            other.set_viewport_size({"width": width, "height": HEIGHT})
            assert other.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"at {width} px"

    expect(note).to_have_count(0)
    assert has_stayed(live)
    assert_whole(live)
    again = other.get_by_role("link", name="Try again")
    expect(again).to_be_visible()
    again.click()
    expect(other.get_by_role("heading", name="Receipts", exact=True)).to_be_visible()
