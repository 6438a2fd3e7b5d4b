"""The browser of the tests: chromium without a window, which Debian also packs without the parts that draw one."""

import shutil
from typing import Final

# In this order. The first has the same engine, and pages take a third less time in it.
NAMES: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
NOT_INSTALLED: Final = "chromium is not installed (Debian: apt-get install chromium-headless-shell)"


def path() -> str | None:
    """The program, or None without one."""
    return next(filter(None, map(shutil.which, NAMES)), None)
