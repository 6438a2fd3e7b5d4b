"""The console works in a browser without JavaScript."""

import re
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from tests.browser.console import RunningConsole
from tests.browser.pages import node_row
from tests.browser.processes import wait_until
from tests.browser.visitors import Visitors

NODE = "scriptless-001"


def open_without_a_script(visitors: Visitors) -> Page:
    """Opens a page, signed in. app.js has left no mark, so no script has run."""
    page = visitors.sign_in("operator", javascript=False)
    assert page.locator("html").get_attribute("data-js") is None
    return page


def test_nodes_are_filtered_and_opened(busy_node: str, visitors: Visitors) -> None:
    page = open_without_a_script(visitors)
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Nodes").click()
    page.locator("#id_region").select_option("eu-central")
    page.get_by_role("button", name="Filter").click()
    expect(node_row(page, busy_node)).to_be_visible()
    page.locator("[data-search]").fill("no-such-node")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No matching nodes")).to_be_visible()
    page.get_by_role("link", name="Clear filters").click()
    page.get_by_role("link", name=busy_node, exact=True).click()
    expect(page.get_by_role("heading", name=busy_node)).to_be_visible()
    page.get_by_role("link", name="Hardware", exact=True).click()
    expect(page.get_by_role("heading", name="Public keys")).to_be_visible()
    page.get_by_role("link", name="History", exact=True).click()
    expect(page.get_by_role("region", name="History").get_by_text("First heartbeat").first).to_be_visible()


def test_receipts_are_searched_and_opened(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    path = f"/v1/receipts?node_id={busy_node}&limit=1"
    newest = wait_until(
        lambda: console.get_json(path)["results"], within_seconds=30, what="the busy node has a receipt"
    )[0]["request_id"]
    page = open_without_a_script(visitors)
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Receipts").click()
    page.locator("[data-search]").fill(newest[:12])
    page.get_by_label("Node").fill(busy_node)
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name=newest, exact=True).click()
    expect(page.get_by_role("region", name="Verification").get_by_text("Valid", exact=True)).to_be_visible()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download").click()
    assert (
        Path(downloading.value.path()).read_bytes()
        == console.get(f"/v1/receipts/{busy_node}/{newest}/raw").content
    )


def test_a_search_is_saved_and_a_receipt_is_found_by_its_file(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    page = open_without_a_script(visitors)
    page.goto(f"/receipts/?node_id={busy_node}&outcome=ok")
    page.get_by_text("Views", exact=True).click()
    page.get_by_label("Save this search as").fill("Good ones")
    page.get_by_role("button", name="Save", exact=True).click()
    page.goto("/receipts/")
    page.get_by_text("Views", exact=True).click()
    page.get_by_role("link", name="Good ones").click()
    expect(page.get_by_label("Node")).to_have_value(busy_node)
    page.get_by_role("link", name=re.compile(f"^Node: {busy_node}.*remove this filter")).click()
    expect(page.get_by_label("Node")).to_have_value("")
    expect(page.get_by_label("Outcome")).to_have_value("ok")
    page.get_by_text("Views", exact=True).click()
    page.get_by_text("Rename or delete").click()
    page.get_by_label("New name of Good ones").fill("Fine ones")
    page.get_by_role("button", name="Rename").click()
    page.get_by_text("Views", exact=True).click()
    expect(page.get_by_role("link", name="Fine ones")).to_be_visible()
    page.get_by_text("Rename or delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("View deleted.")).to_be_visible()

    newest = console.get_json(f"/v1/receipts?node_id={busy_node}&limit=1")["results"][0]["request_id"]
    raw = console.get(f"/v1/receipts/{busy_node}/{newest}/raw").content
    page.get_by_text("Find by file").click()
    page.get_by_label("Receipt file").set_input_files(
        {"name": "receipt.json", "mimeType": "application/json", "buffer": raw}
    )
    page.get_by_role("button", name="Find", exact=True).click()
    expect(page.get_by_role("heading", name=newest)).to_be_visible()


def test_a_node_is_enrolled_with_the_file_that_the_page_gives(
    console: RunningConsole, visitors: Visitors
) -> None:
    page = open_without_a_script(visitors)
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Run a node").click()
    page.get_by_role("link", name="A GPU server").click()
    page.get_by_label("Node ID").fill(NODE)
    visitors.expect_complaint("422")
    page.get_by_label("Region").fill("Not A Region")
    page.get_by_role("button", name="Create the command").click()
    expect(page.get_by_text("Use 1 to 32 characters from a-z, 0-9 and hyphen.")).to_be_visible()
    page.get_by_label("Region").fill("us-east")
    page.get_by_role("button", name="Create the command").click()
    expect(page.locator("#install-command")).to_contain_text("| sh")
    page.get_by_text("Install by hand instead").click()
    shown = str(page.locator("#agent-yaml").text_content())
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download").click()
    assert Path(downloading.value.path()).read_text() == shown
    assert f'node_id: "{NODE}"' in shown
    # pip fetches the agent from the address in the commands; it brings no cookies
    wheel = str(page.locator("#install-commands").text_content()).split(console.url)[1].split("#")[0]
    assert httpx.get(f"{console.url}{wheel}", timeout=60, trust_env=False).content.startswith(b"PK")
