"""Waits for pages that hear keys and clicks: their scripts have run, and their modules are in place.

`page.goto` and `page.reload` wait for the scripts of a page themselves, but not for the modules of its parts. What
else leads to another page (a click, a key, a form) waits for neither, and its text is there before its scripts are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page

HEARS = "html[data-js]:not(:has([data-module]:not([data-equipped=ready])))"


def wait_until_it_hears(page: Page) -> None:
    """Until app.js has run and every part that names a module has it. Only for pages with app.js."""
    page.wait_for_selector(HEARS, state="attached")


@contextmanager
def arrival(page: Page) -> Iterator[None]:
    """What is done in this block loads another document. Afterwards that document hears keys and clicks."""
    with page.expect_navigation():  # until its load event
        yield
    wait_until_it_hears(page)
