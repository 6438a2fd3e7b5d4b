"""A receipt's JSON in the browser: nested values fold, with the keyboard too, and copying is not affected."""

import json

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.console import RunningConsole
from tests.browser.visitors import Visitors


@pytest.fixture(scope="module")
def nested(console: RunningConsole) -> dict[str, str]:
    """The path, the bytes and the key of a receipt with nested members."""
    found: dict[str, str] = console.work("tests.browser.nested_receipt")
    return found


def viewer(page: Page) -> Locator:
    return page.get_by_role("region", name="Receipt as JSON")


def fold(page: Page, key: str) -> Locator:
    """The line on which the value of this key opens."""
    return viewer(page).locator("summary").filter(has_text=f'"{key}"')


def test_folding_hides_the_rest_and_copying_still_gives_all(
    nested: dict[str, str], visitors: Visitors
) -> None:
    page = visitors.sign_in("admin")
    page.goto(nested["path"])
    checkpoint = viewer(page).get_by_text("40", exact=True)
    expect(checkpoint).to_be_visible()
    lines_open = viewer(page).evaluate("e => e.scrollHeight")
    fold(page, "s3_checkpoints").press("Enter")
    expect(checkpoint).to_be_hidden()
    shown = fold(page, "s3_checkpoints").evaluate("e => getComputedStyle(e, '::after').content")
    assert shown == '" … 2 items ],"'
    one_line = viewer(page).locator(".json > div").first.evaluate("e => e.offsetHeight")
    assert fold(page, "s3_checkpoints").evaluate("e => e.offsetHeight") == one_line
    assert viewer(page).evaluate("e => e.scrollHeight") < lines_open

    page.get_by_role("region", name="JSON", exact=True).get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert json.loads(copied) == json.loads(nested["raw"])
    assert '\n  "s3_checkpoints": [\n    40,\n    80\n  ],\n' in copied

    fold(page, "s3_checkpoints").press(" ")
    expect(checkpoint).to_be_visible()


def test_focus_on_a_fold_does_not_scroll_its_triangle_out_of_sight(
    nested: dict[str, str], visitors: Visitors
) -> None:
    page = visitors.sign_in("admin", width=360)
    page.goto(nested["path"])
    fold(page, "note").focus()
    assert viewer(page).evaluate("e => [e.scrollWidth > e.clientWidth, e.scrollLeft]") == [True, 0]
    fold(page, "note").click()
    assert viewer(page).evaluate("e => e.scrollLeft") == 0


def test_without_javascript_everything_is_shown_and_folds(nested: dict[str, str], visitors: Visitors) -> None:
    page = visitors.sign_in("admin", javascript=False)
    page.goto(nested["path"])
    inner = viewer(page).get_by_text('"b"')
    expect(inner).to_be_visible()
    fold(page, "note").click()
    expect(inner).to_be_hidden()
    expect(fold(page, "note")).to_be_visible()
