"""Fixtures for tests that open pages in chromium without a server.

The browser's request hook gets the pages from Django's test client, without a server or a thread. They have
the real headers, so that the Content-Security-Policy applies. A conftest imports the
fixtures, and a module takes the marks `IN_CHROMIUM`.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect, sync_playwright

from jatevo.flags.registry import DEFAULTS
from tests import chromium
from tests.web.arrival import wait_until_it_hears

CONSOLE = "http://localhost"  # never dialled
IN_CHROMIUM = [
    pytest.mark.browser,
    # pytest-base-url, which pytest-playwright brings along, is not yet ready for pytest 10
    pytest.mark.filterwarnings("ignore:Session-scoped fixtures defined as instance methods"),
    pytest.mark.skipif(chromium.path() is None, reason=chromium.NOT_INSTALLED),
]


# pytest-playwright's own fixtures are not used, because they last until the end of the session. While Playwright runs,
# Django takes this thread for an asynchronous one and refuses to use the database in it.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=30_000)  # as long as everything else waits
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.path(), args=list(chromium.ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(base_url=CONSOLE, reduced_motion="reduce") as context:
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def flags_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sidebar reads a flag, and no query is possible inside the browser's loop."""
    monkeypatch.setattr("jatevo.accounts.permissions.enabled", DEFAULTS.__getitem__)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


_static: dict[str, Answer] = {}  # a browser with a request hook does not cache


def answer_from_django(route: Route) -> None:
    url = urlsplit(route.request.url)
    if f"{url.scheme}://{url.netloc}" != CONSOLE:
        route.abort()  # the console makes no requests to other hosts
        return
    # what is handed to the browser this way is not decompressed by it
    headers = {
        name: value for name, value in route.request.all_headers().items() if name != "accept-encoding"
    }
    if (answer := _static.get(url.path)) is None:
        found = Client().get(f"{url.path}?{url.query}", headers=headers)
        body = found.getvalue() if found.streaming else found.content
        answer = Answer(found.status_code, dict(found.items()), body)
        if url.path.startswith("/static/"):
            _static[url.path] = answer
    route.fulfill(status=answer.status, headers=answer.headers, body=answer.body)


@pytest.fixture
def complaints(context: BrowserContext, page: Page, flags_without_a_database: None) -> Iterator[list[str]]:
    """The browser's errors, including refused styles and scripts. There must be none at the end."""
    said: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            said.append(message.text)

    context.route("**/*", answer_from_django)
    page.on("console", listen)
    page.on("pageerror", lambda error: said.append(str(error)))
    yield said
    assert said == []


@pytest.fixture
def open_page(complaints: list[str], context: BrowserContext, page: Page) -> Callable[..., Page]:
    def open_page(path: str, theme: str = "dark") -> Page:
        context.add_cookies([{"name": "theme", "value": theme, "url": CONSOLE}])
        page.goto(path)
        wait_until_it_hears(page)
        return page

    return open_page
