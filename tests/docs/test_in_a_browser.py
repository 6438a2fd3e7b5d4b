"""The Docs in chromium: accessibility rules on every page, and use by keyboard and without JavaScript."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from jatevo.docs.book import every_page
from tests.web.accessibility import violations
from tests.web.arrival import arrival
from tests.web.in_chromium import CONSOLE, IN_CHROMIUM, answer_from_django

pytestmark = IN_CHROMIUM

# One of each kind: links, tables, notes and code, the reference, hits, and no hits.
KINDS = [
    "/docs/", "/docs/lifecycle/", "/docs/verify/", "/docs/api/dispatches/",
    "/docs/search/?q=quarantine", "/docs/search/?q=xylophone",
]  # fmt: skip


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("theme", "width"), [("dark", 360), ("light", 1440)])
def test_pages_keep_the_rules_of_accessibility(
    open_page: Callable[..., Page], theme: str, width: int
) -> None:
    problems = []
    for path in KINDS:
        page = open_page(path, theme)
        page.set_viewport_size({"width": width, "height": 900})
        problems += [f"{path}: {each}" for each in violations(page)]
    assert problems == []


@pytest.mark.timeout(900)
def test_every_page_fits_a_telephone(open_page: Callable[..., Page]) -> None:
    wide = []
    for each in every_page():
        page = open_page(each.url)
        page.set_viewport_size({"width": 360, "height": 900})
        if page.evaluate("document.scrollingElement.scrollWidth") > 360:
            wide.append(each.url)
    assert wide == []


def test_search_by_keyboard(open_page: Callable[..., Page]) -> None:
    page = open_page("/docs/")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "docs-q"
    page.keyboard.type("clock_skew")
    with arrival(page):
        page.keyboard.press("Enter")
    expect(page.get_by_text("about “clock_skew”")).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/docs/api/**")


def test_code_is_copied_as_it_stands(open_page: Callable[..., Page]) -> None:
    page = open_page("/docs/runtimes/ollama/")
    page.evaluate(
        "navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }"
    )
    page.get_by_role("button", name="Copy").first.click()
    page.wait_for_selector("text=Copied")
    assert page.evaluate("window.copied") == "ollama pull llama3.1\nollama serve"


def test_pages_and_search_work_without_javascript(browser: Browser, flags_without_a_database: None) -> None:
    context = browser.new_context(base_url=CONSOLE, java_script_enabled=False)
    context.route("**/*", answer_from_django)
    page = context.new_page()
    page.goto("/docs/")
    page.get_by_role("searchbox", name="Search the docs").fill("behind NAT")
    page.get_by_role("searchbox", name="Search the docs").press("Enter")
    expect(page.get_by_text("about “behind NAT”")).to_be_visible()
    page.get_by_role("link", name="Behind NAT").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Behind NAT")
    page.get_by_role("link", name="Next").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Troubleshooting")
    context.close()
