"""Who has access to what: a visitor, a viewer, and the operator of another organisation."""

import secrets

from playwright.sync_api import Page, expect

from tests.browser.console import RunningConsole
from tests.browser.staff import make_operator, make_org
from tests.browser.visitors import Visitors, sign_in


def navigation(page: Page) -> list[str]:
    """The texts of the navigation."""
    return page.get_by_role("navigation", name="Main").get_by_role("link").all_inner_texts()


def test_a_stranger_sees_the_overview_and_is_asked_to_sign_in_for_the_rest(
    busy_node: str, visitors: Visitors
) -> None:
    page = visitors.open()
    page.goto("/")
    expect(page.get_by_role("heading", name="Network status")).to_be_visible()
    expect(page.get_by_role("group", name="Active nodes")).to_be_visible()
    assert navigation(page) == ["Overview", "Nodes", "Status", "Docs"]
    expect(page.locator("body")).not_to_contain_text(busy_node)
    page.goto("/nodes/")
    expect(page.get_by_text("No nodes are shared")).to_be_visible()
    for path in (f"/nodes/{busy_node}/", "/receipts/", "/run-a-node/"):
        page.goto(path)
        expect(page.get_by_role("heading", name="Sign in to Jatevo")).to_be_visible()


def test_signing_in_leads_to_where_one_was_going(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    page = visitors.open()
    page.goto(f"/nodes/{busy_node}/?tab=hardware")
    login = console.login("operator")
    page.get_by_label("Email").fill(login["email"])
    page.get_by_label("Password").fill(login["password"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Public keys")).to_be_visible()


def test_a_viewer_reads_the_overview_and_no_node_that_is_not_shared(
    busy_node: str, visitors: Visitors
) -> None:
    page = visitors.sign_in("viewer")
    assert navigation(page) == ["Overview", "Nodes", "Receipts", "Status", "Docs"]
    expect(page.get_by_role("link", name="Run a node")).to_have_count(0)
    page.goto("/nodes/")
    expect(page.get_by_text("No nodes are shared")).to_be_visible()
    page.goto("/receipts/")
    expect(page.get_by_text("No receipts are shared with you")).to_be_visible()
    visitors.expect_complaint("40[34]")
    page.goto("/run-a-node/")
    expect(page.get_by_role("heading", name="You do not have permission to do this")).to_be_visible()
    page.goto(f"/nodes/{busy_node}/")
    expect(page.get_by_role("heading", name="Page not found")).to_be_visible()


def test_an_operator_of_another_organisation_finds_nothing_of_ours(
    console: RunningConsole, busy_node: str, visitors: Visitors
) -> None:
    staff = visitors.sign_in("admin")
    shared = ["Overview", "Nodes", "Receipts", "Earnings", "Status", "Run a node", "Docs"]
    assert navigation(staff) == [*shared, "Admin"]
    rival = {"email": "rival@example.org", "password": secrets.token_urlsafe(18)}
    make_org(staff, "Rival Compute")
    make_operator(staff, **rival, org="Rival Compute")

    page = visitors.open()
    sign_in(page, **rival)
    assert navigation(page) == shared
    page.goto("/nodes/")
    expect(page.get_by_text("No nodes yet")).to_be_visible()
    page.goto(f"/receipts/?node_id={busy_node}")
    expect(page.get_by_text("No matching receipts")).to_be_visible()

    visitors.expect_complaint("404")
    newest = console.get_json(f"/v1/receipts?node_id={busy_node}&limit=1")["results"][0]["request_id"]
    ours = [f"/nodes/{busy_node}/", f"/nodes/{busy_node}/token/", f"/receipts/{busy_node}/{newest}/"]
    ours.append(f"/earnings/receipts/{busy_node}/{newest}/")
    for path in ours:
        page.goto(path)
        expect(page.get_by_role("heading", name="Page not found")).to_be_visible()
    assert page.request.get(f"/v1/nodes/{busy_node}").status == 404
    assert page.request.get(f"/v1/receipts/{busy_node}/{newest}").status == 404
