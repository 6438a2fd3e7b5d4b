"""People with browsers. Each has their own context, and errors in the browser's console are recorded."""

import re
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from tests.browser.console import RunningConsole

PAGE_TIMEOUT_MS = 20_000
HEIGHT = 900


class Visitors:
    """Opens browsers. `complaints` are the errors, refused scripts and foreign hosts that they reported."""

    def __init__(self, chromium: Browser, console: RunningConsole) -> None:
        self.complaints: list[str] = []
        self._chromium = chromium
        self._console = console
        self._contexts: list[BrowserContext] = []
        self._expected: list[re.Pattern[str]] = []

    def open(self, *, javascript: bool = True, theme: str = "dark", width: int = 1440) -> Page:
        """A stranger's first window. It may use the clipboard, and its base address is the console's."""
        context = self._chromium.new_context(
            base_url=self._console.url,
            viewport={"width": width, "height": HEIGHT},
            java_script_enabled=javascript,
            reduced_motion="reduce",
            permissions=["clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(PAGE_TIMEOUT_MS)
        context.add_cookies([{"name": "theme", "value": theme, "url": self._console.url}])
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.complaints.append(f"uncaught: {error.error}"))
        context.on("request", self._see)
        self._contexts.append(context)
        return context.new_page()

    def sign_in(self, role: str, *, javascript: bool = True, theme: str = "dark", width: int = 1440) -> Page:
        """A window of one of the three logins, signed in through the login page."""
        page = self.open(javascript=javascript, theme=theme, width=width)
        sign_in(page, **self._console.login(role))
        return page

    def expect_complaint(self, pattern: str) -> None:
        """Expects an error of the browser, which reports every answer of 400 and above as one."""
        self._expected.append(re.compile(pattern))

    def close(self) -> list[str]:
        """Closes all windows. Returns the complaints that were not expected."""
        for context in self._contexts:
            context.close()
        return [said for said in self.complaints if not any(each.search(said) for each in self._expected)]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.location.get('url', '')}: {message.text}")

    def _see(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in ("http", "https") and f"{url.scheme}://{url.netloc}" != self._console.url:
            self.complaints.append(f"a page asked {request.url}")


def sign_in(page: Page, email: str, password: str) -> None:
    """Through the login page, with the mouse. Afterwards the Overview hears keys, unless it has no scripts."""
    page.goto("/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    with page.expect_navigation():  # until the load event, which comes after the scripts
        page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Network status")).to_be_visible()


def stay(page: Page) -> None:
    """Marks the document, for `has_stayed`."""
    page.evaluate("window.markedByTest = true")


def has_stayed(page: Page) -> bool:
    """Whether the page is still the document that was marked, neither reloaded nor left."""
    return bool(page.evaluate("window.markedByTest === true"))


def wait_in(page: Page, condition: Callable[[], object]) -> None:
    """Until the condition is true. What the page does meanwhile reaches the test's handlers."""
    deadline = time.monotonic() + PAGE_TIMEOUT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, "the page has not done it in time"
        page.wait_for_timeout(20)


class Stopwatch:
    """The seconds since it was created, and the rest of a time limit in Playwright's milliseconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def rest_ms(self, bound_seconds: float) -> float:
        """The rest of the time limit, but at least 1 ms, because 0 means for ever in Playwright."""
        return max(1.0, 1000 * (bound_seconds - self.seconds()))
