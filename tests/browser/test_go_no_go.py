"""PRD §14 and §15, happy path: an operator enrols a node, it gets active, its first receipt is shown."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from jatevo.wire import keys, signing
from tests.browser.agent import AgentAtWork, MakeAgent
from tests.browser.console import RunningConsole
from tests.browser.measuring import Measure
from tests.browser.pages import node_status, step
from tests.browser.processes import LOOPBACK, free_port, wait_until
from tests.browser.visitors import Stopwatch, Visitors, has_stayed, stay
from tests.web.arrival import arrival

NODE = "go-no-go-001"
ACTIVE_WITHIN_SECONDS = 20.0
ON_SCREEN_WITHIN_SECONDS = 2.0
FIRST_RECEIPT_WITHIN_SECONDS = 60.0  # the file from the page asks for one in five seconds on average
RECEIPTS_TIMED = 8

# Notes the moment (unix milliseconds) at which each receipt that is not there yet comes into the list.
WATCH_RECEIPTS = """() => {
  const paths = () => [...document.querySelectorAll('[data-list] [data-open]')].map((link) => link.pathname);
  const before = new Set(paths());
  window.arrivals = {};
  const look = () => paths().forEach((path) => before.has(path) || (window.arrivals[path] ??= Date.now()));
  new MutationObserver(look).observe(document.getElementById('main'), {childList: true, subtree: true});
}"""


@pytest.mark.timeout(900)
def test_a_newcomer_brings_a_node_into_service_and_sees_its_receipts(
    console: RunningConsole, validator: str, visitors: Visitors, agents: MakeAgent, measure: Measure
) -> None:
    page = visitors.open()
    sign_in_by_keyboard(page, **console.login("operator"))
    agent = agents(NODE, enrol_on_the_page(page))
    nodes, receipts = page.context.new_page(), page.context.new_page()
    nodes.goto("/nodes/")
    receipts.goto(f"/receipts/?node_id={NODE}")
    for each in (page, nodes, receipts):
        stay(each)
    expect(step(page, "Registered", "In progress")).to_be_visible()

    since_start = Stopwatch()
    agent.start("--simulate", "0.5")  # in place of a runtime
    for name in ("Registered", "First heartbeat", "Active"):
        expect(step(page, name, "Done")).to_be_visible(timeout=since_start.rest_ms(ACTIVE_WITHIN_SECONDS))
        measure(f"agent start to '{name}' on the checklist", since_start.seconds())
    expect(node_status(nodes, NODE, "Active")).to_be_visible(
        timeout=since_start.rest_ms(ACTIVE_WITHIN_SECONDS)
    )
    measure("agent start to Active on the Nodes page", since_start.seconds())
    assert since_start.seconds() < ACTIVE_WITHIN_SECONDS

    first = step(page, "First receipt", "Done")
    expect(first).to_be_visible(timeout=1000 * FIRST_RECEIPT_WITHIN_SECONDS)
    expect(page.get_by_role("link", name="See its receipts")).to_be_visible()
    assert has_stayed(page)
    assert has_stayed(nodes)

    slowest = slowest_receipt_to_screen(console, receipts, agent)
    measure(f"a receipt's acceptance to the Receipts page, slowest of {RECEIPTS_TIMED} or more", slowest)
    assert slowest < ON_SCREEN_WITHIN_SECONDS
    assert has_stayed(receipts)

    assert agent.stop() == 0
    the_evidence_is_the_node_s_own(console, receipts, agent)


def sign_in_by_keyboard(page: Page, email: str, password: str) -> None:
    page.goto("/")
    for _ in range(10):  # skip link, navigation, then what a stranger can do: sign in
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Sign in":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_label("Email")).to_be_focused()
    page.keyboard.type(email)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Receipts", exact=True)).to_be_visible()


def enrol_on_the_page(page: Page) -> str:
    """Run a Node, from the platform to agent.yaml. The same text is shown, copied and downloaded."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Run a node").click()
    page.get_by_role("link", name="Apple silicon").click()
    page.get_by_label("Node ID").fill(NODE)
    page.get_by_label("Region").fill("ap-southeast")
    page.get_by_label("Public address").fill(f"http://{LOOPBACK}:{free_port()}")
    page.get_by_label("Models").fill("llama3.1-8b")
    with arrival(page):
        page.get_by_role("button", name="Create the command").click()
    page.get_by_text("Install by hand instead").click()
    shown = page.locator("#agent-yaml")
    expect(shown).to_contain_text("enrollment_token")
    text = str(shown.text_content())
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download").click()
    assert downloading.value.suggested_filename == "agent.yaml"
    assert Path(downloading.value.path()).read_text() == text
    page.locator("#by-hand").get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == text
    return text


def slowest_receipt_to_screen(console: RunningConsole, receipts: Page, agent: AgentAtWork) -> float:
    """Seconds between a receipt's acceptance and its line on the open page, the longest of several.

    `accepted_at` is the console's clock while it answers the post; the page's clock is that of the same
    machine. The post begins milliseconds earlier, which the bound of seconds leaves room for.
    """
    assert agent.stop() == 0
    receipts.evaluate(WATCH_RECEIPTS)
    agent.start("--simulate", "1")

    def enough() -> dict[str, float]:
        seen: dict[str, float] = receipts.evaluate("window.arrivals")
        return seen if len(seen) >= RECEIPTS_TIMED else {}

    arrivals = wait_until(enough, within_seconds=60, what=f"{RECEIPTS_TIMED} receipts are on the page")
    return max(moment / 1000 - accepted_at(console, path) for path, moment in arrivals.items())


def accepted_at(console: RunningConsole, page_path: str) -> float:
    """Unix seconds. The receipt's path in the API is the page's path below /v1."""
    record = console.get_json(f"/v1{page_path.rstrip('/')}")
    return datetime.fromisoformat(record["accepted_at"]).timestamp()


def the_evidence_is_the_node_s_own(console: RunningConsole, receipts: Page, agent: AgentAtWork) -> None:
    """The badge and the checks. What is copied and downloaded verifies with the key on the agent's disk."""
    receipts.locator("[data-open]").first.click()
    drawer = receipts.get_by_role("dialog")
    expect(drawer.get_by_role("region", name="Verification").get_by_text("Valid", exact=True)).to_be_visible()
    with arrival(receipts):
        drawer.get_by_role("link", name="Full page").click()
    verification = receipts.get_by_role("region", name="Verification")
    expect(verification.get_by_text("Valid", exact=True)).to_be_visible()
    assert len(verification.get_by_role("listitem").all()) >= 6
    for check in verification.get_by_role("listitem").all():
        expect(check).to_contain_text(": Done")

    api_path = f"/v1{receipts.evaluate('location.pathname').rstrip('/')}"
    raw = console.get(f"{api_path}/raw").content
    with receipts.expect_download() as downloading:
        receipts.get_by_role("link", name="Download").click()
    assert Path(downloading.value.path()).read_bytes() == raw
    receipts.get_by_role("region", name="JSON", exact=True).get_by_role("button", name="Copy").click()
    expect(receipts.get_by_role("button", name="Copied")).to_be_visible()
    copied: dict[str, Any] = json.loads(receipts.evaluate("navigator.clipboard.readText()"))
    downloaded: dict[str, Any] = json.loads(raw)
    assert copied == downloaded

    public_key = agent.public_key()
    receipts.goto(f"/nodes/{NODE}/?tab=hardware")
    expect(receipts.get_by_text(public_key)).to_be_visible()
    assert downloaded["node_id"] == NODE
    assert signing.verify(downloaded, keys.decode_public_key(public_key))
    assert not signing.verify({**downloaded, "tokens_output": 1_000_000}, keys.decode_public_key(public_key))
