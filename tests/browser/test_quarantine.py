"""PRD §15, quarantine path: a forged receipt quarantines its node, and only an admin can clear it."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.agent import MakeAgent
from tests.browser.console import RunningConsole
from tests.browser.measuring import Measure
from tests.browser.pages import history, node_status, page_status
from tests.browser.visitors import Stopwatch, Visitors, has_stayed, stay

NODE = "forger"
REASON = "The operator has replaced the machine's key."
QUARANTINE_WITHIN_SECONDS = 30.0
ACTIVE_WITHIN_SECONDS = 30.0


@pytest.mark.timeout(900)
def test_a_forged_receipt_quarantines_until_an_admin_clears_the_node(
    console: RunningConsole, validator: str, visitors: Visitors, agents: MakeAgent, measure: Measure
) -> None:
    agent = agents(NODE)
    operator = visitors.sign_in("operator")
    operator.goto("/nodes/")
    stay(operator)
    since_start = Stopwatch()
    agent.start("--fault", "forged-signature", "--simulate", "2")
    expect(node_status(operator, NODE, "Quarantine")).to_be_visible(
        timeout=since_start.rest_ms(QUARANTINE_WITHIN_SECONDS)
    )
    measure("start of a forging agent to Quarantine on the page", since_start.seconds())
    assert has_stayed(operator)

    # The same machine, mended: what it had forged and not yet sent still comes, and still counts against it.
    assert agent.stop() == 0
    agent.start("--simulate", "0")
    agent.wait_until_delivered(within_seconds=30)
    assert agent.stop() == 0

    the_operator_sees_why(operator)
    assert console.get_json(f"/v1/receipts?node_id={NODE}")["results"] == []
    assert operator.request.get(f"/nodes/{NODE}/clear/").status == 403

    admin = visitors.sign_in("admin")
    the_admin_sees_the_evidence(admin)
    clear_by_keyboard(admin)
    expect(page_status(admin, "Pending")).to_be_visible()

    since_start = Stopwatch()
    agent.start("--simulate", "2")
    operator.goto(f"/nodes/{NODE}/")
    expect(page_status(operator, "Active")).to_be_visible(timeout=1000 * ACTIVE_WITHIN_SECONDS)
    measure("start of the mended agent to Active on its page", since_start.seconds())
    lines = history(admin, NODE)
    cleared = lines.index(f"Quarantine to Pending Registered: Cleared by an admin {REASON}")
    assert lines[cleared - 1].endswith("to Quarantine: Forged receipt")
    assert lines[cleared + 1 :] == [
        "Registered to Pending Probing: First heartbeat",
        "Probing to Active: Probe passed",
    ]
    row = admin.get_by_role("listitem").filter(has_text=REASON)
    expect(row).to_contain_text(console.login("admin")["email"])


def the_operator_sees_why(page: Page) -> None:
    page.goto(f"/nodes/{NODE}/")
    expect(page_status(page, "Quarantine")).to_be_visible()
    status = page.get_by_role("region", name="Status")
    expect(status).to_contain_text(
        "The node sent a receipt that none of its keys, current or former, has signed."
    )
    expect(status).to_contain_text("an admin must clear it")
    expect(page.get_by_role("link", name="Clear quarantine")).to_have_count(0)


def the_admin_sees_the_evidence(page: Page) -> None:
    page.goto("/nodes/?status=quarantine")
    expect(node_status(page, NODE, "Quarantine")).to_be_visible()
    page.goto(f"/nodes/{NODE}/?tab=receipts")
    evidence = page.get_by_text("Forged receipts", exact=True)
    expect(evidence).to_be_visible()
    expect(page.get_by_text("came with a signature that does not verify")).to_be_visible()
    page.get_by_role("link", name="See the evidence").click()
    expect(page.get_by_role("heading", name="Refused receipts", level=1)).to_be_visible()
    page.locator("[data-list] [data-open]").first.click()
    expect(page.get_by_text("Forged", exact=True).first).to_be_visible()


def clear_by_keyboard(page: Page) -> None:
    """Clears the node from its page, without the mouse."""
    page.goto(f"/nodes/{NODE}/")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Clear quarantine":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type(REASON)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Clear quarantine")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"{NODE} is cleared. It must pass its probe again.")).to_be_visible()
