"""A minute that passes on a page within a second. Every refresh gets a full answer, as if something had changed."""

import time

from playwright.sync_api import Page, Route

STEP_MS = 10_000
STEPS = 6
_PAUSE_MS = 20
_ANSWERED_WITHIN_SECONDS = 120
_UNDER_WAY = ".htmx-request, .htmx-swapping, .htmx-settling"


class Minute:
    """Advances the page's clock. `asked` are the parts that polled."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        page.clock.install()
        page.on("request", lambda request: self._note(request.headers.get("hx-target")))
        page.route("**/*", always_anew)

    def passes(self, steps: int = STEPS) -> None:
        """So many times ten seconds. The first after a page has loaded only sets the time of its first refresh."""
        for _ in range(steps):
            self.page.clock.fast_forward(STEP_MS)  # a refresh that is due begins in it
            self._wait_until_answered()

    def _wait_until_answered(self) -> None:
        deadline = time.monotonic() + _ANSWERED_WITHIN_SECONDS
        while self.page.evaluate("parts => document.querySelectorAll(parts).length", _UNDER_WAY):
            assert time.monotonic() < deadline, "a part was not answered"
            self.page.wait_for_timeout(_PAUSE_MS)

    def _note(self, target: str | None) -> None:
        if target:
            self.asked.append(target)


def always_anew(route: Route) -> None:
    route.fallback(
        headers={name: value for name, value in route.request.headers.items() if name != "if-none-match"}
    )
