"""What axe-core finds on a page. Its half a megabyte is brought into a document once, however often it is asked."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# Without the style sheets, which only an experimental rule reads that is not on.
_OPTIONS = {"resultTypes": ["violations"], "preload": {"assets": ["media"], "timeout": 10_000}}
_RUN = """options => axe.run(options).then(({ violations }) =>
  violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`))"""


def violations(page: Page, *, only: list[str] | None = None) -> list[str]:
    """Each broken rule, and where. `only` names the rules to try; otherwise all that axe has switched on."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    found: list[Any] = page.evaluate(_RUN, {**_OPTIONS, **({"runOnly": only} if only else {})})
    return [str(each) for each in found]
