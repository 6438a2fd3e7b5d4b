"""Finds parts of the console's pages by the text that people read."""

from playwright.sync_api import Locator, Page, expect

RECEIPTS_PER_PAGE = 25


def node_row(page: Page, node_id: str) -> Locator:
    """The node's row in the node list."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=node_id, exact=True))


def node_status(page: Page, node_id: str, word: str) -> Locator:
    """The chip with this text in the node's row of the node list."""
    return node_row(page, node_id).get_by_text(word, exact=True)


def page_status(page: Page, word: str) -> Locator:
    """The chip with this text on a node's page."""
    return page.get_by_role("region", name="Status").get_by_text(word, exact=True)


def step(page: Page, name: str, state: str) -> Locator:
    """A line of the live checklist of Run a Node in this state: Done, In progress, Not yet, Failed."""
    return page.get_by_role("listitem").filter(has_text=f"{name}: {state}")


def history(page: Page, node_id: str) -> list[str]:
    """The node's history on its page, oldest first: 'Offline to Probing: First heartbeat'."""
    page.goto(f"/nodes/{node_id}/?tab=history")
    lines = page.get_by_role("region", name="History").get_by_role("listitem").filter(has_not_text="exempt")
    expect(lines.first).to_be_visible()
    return [_history_line(*each) for each in reversed(lines.evaluate_all(_HISTORY))]


# All lines at once, because the page may get another one meanwhile.
_HISTORY = """lines => lines.map((line) =>
  [line.querySelector("p").innerText, [...line.querySelectorAll("[data-note]")].map((note) => note.innerText)])"""


def _history_line(words: str, notes: list[str]) -> str:
    """'Quarantine to Pending Registered: Cleared by an admin', and the note with it."""
    *step, title = (part for part in words.split("\n") if part.strip())
    return " ".join([f"{' '.join(step)}: {title}", *notes])
