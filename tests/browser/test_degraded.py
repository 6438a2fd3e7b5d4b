"""PRD §15, degraded path: agents fall silent and return, and the console itself is down for a while."""

import pytest
from playwright.sync_api import expect

from tests.browser.agent import MakeAgent
from tests.browser.console import OFFLINE_AFTER_SECONDS, RunningConsole
from tests.browser.measuring import Measure
from tests.browser.pages import history, node_status
from tests.browser.processes import wait_until
from tests.browser.visitors import Stopwatch, Visitors, has_stayed, stay

ACTIVE_WITHIN_SECONDS = 30.0
# The deadline itself, a round of the sweeper, a round of the page; the rest is room for a slow machine.
OFFLINE_WITHIN_SECONDS = OFFLINE_AFTER_SECONDS + 5 + 10 + 20
RECEIPTS_DURING_OUTAGE = 5
DELIVERED_WITHIN_SECONDS = 60.0


@pytest.mark.timeout(900)
def test_an_agent_that_stops_goes_offline_on_the_page_and_comes_back_through_pending(
    validator: str, visitors: Visitors, agents: MakeAgent, measure: Measure
) -> None:
    suspended, ended = agents("suspended-laptop"), agents("ended-agent", region="us-east")
    for agent in (suspended, ended):
        agent.start()
    page = visitors.sign_in("operator")
    page.goto("/nodes/")
    stay(page)
    for agent in (suspended, ended):
        expect(node_status(page, agent.node_id, "Active")).to_be_visible(timeout=1000 * ACTIVE_WITHIN_SECONDS)

    since_silence = Stopwatch()
    suspended.freeze()
    assert ended.stop() == 0
    for agent in (suspended, ended):
        expect(node_status(page, agent.node_id, "Offline")).to_be_visible(
            timeout=since_silence.rest_ms(OFFLINE_WITHIN_SECONDS)
        )
    measure(
        f"silence to Offline on the page ({OFFLINE_AFTER_SECONDS} s after the last heartbeat is the deadline)",
        since_silence.seconds(),
    )

    since_return = Stopwatch()
    suspended.thaw()
    ended.start()
    for agent in (suspended, ended):
        expect(node_status(page, agent.node_id, "Active")).to_be_visible(timeout=1000 * ACTIVE_WITHIN_SECONDS)
    measure("first sign of life to Active again on the page", since_return.seconds())
    assert has_stayed(page)

    for agent in (suspended, ended):
        *earlier, last = history(page, agent.node_id)
        assert earlier == [
            "Registered to Pending Probing: First heartbeat",
            "Probing to Active: Probe passed",
            "Active to Offline: No heartbeat",
            "Offline to Pending Probing: First heartbeat",
        ]
        # by the validator or, since it had just missed the node, by the console's challenge
        assert last.startswith("Probing to Active: Probe passed")


@pytest.mark.timeout(900)
def test_receipts_completed_while_the_console_is_down_arrive_once_it_is_back(
    console: RunningConsole, validator: str, visitors: Visitors, agents: MakeAgent, measure: Measure
) -> None:
    agent = agents("patient-node")
    agent.start("--simulate", "1")
    page = visitors.sign_in("operator")
    page.goto("/nodes/")
    expect(node_status(page, agent.node_id, "Active")).to_be_visible(timeout=1000 * ACTIVE_WITHIN_SECONDS)
    page.goto(f"/receipts/?node_id={agent.node_id}")
    expect(page.locator("[data-open]").first).to_be_visible()
    stay(page)

    visitors.expect_complaint("ERR_CONNECTION_REFUSED")  # what a browser says of a console that is not there
    visitors.expect_complaint("htmx:(sendError|afterRequest)")  # and htmx of the same
    visitors.expect_complaint("503")  # what it says of one that is just going or coming
    assert console.stop() == 0
    # each refresh says it for ten seconds, and there is one at least once a minute
    expect(page.get_by_text("The console cannot be reached.")).to_be_visible(timeout=70_000)
    wait_until(
        lambda: len(agent.spooled()) >= RECEIPTS_DURING_OUTAGE, within_seconds=60, what="receipts are spooled"
    )
    assert agent.stop() == 0  # and the agent's machine restarts, too
    spooled = agent.spooled()
    measure("console, later start on the same data", console.start())
    agent.start("--simulate", "0")
    since_start = Stopwatch()
    agent.wait_until_delivered(within_seconds=DELIVERED_WITHIN_SECONDS)
    measure(f"agent start to {len(spooled)} spooled receipts delivered", since_start.seconds())

    for request_id, body in spooled.items():
        assert console.get(f"/v1/receipts/{agent.node_id}/{request_id}/raw").content == body
        expect(page.get_by_role("link", name=request_id, exact=True)).to_have_count(1)
    assert has_stayed(page)
    # Its own outage takes no node offline.
    assert not [line for line in history(page, agent.node_id) if "Offline" in line]
