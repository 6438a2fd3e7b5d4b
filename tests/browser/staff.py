"""What an admin does in Django admin in the browser."""

import re

from playwright.sync_api import Page, expect

_TOKEN = re.compile(r"whsec_[A-Za-z0-9+/=]+")


def make_validator(page: Page, validator_id: str) -> str:
    """Creates a validator and returns its token, which the page shows once."""
    page.goto("/admin/nodes/validator/add/")
    page.get_by_label("Id:").fill(validator_id)
    page.get_by_role("button", name="Save", exact=True).click()
    said = page.locator(".messagelist").inner_text()
    found = _TOKEN.search(said)
    assert found, said
    page.reload()
    expect(page.locator("body")).not_to_contain_text(found[0])
    return found[0]


def make_org(page: Page, name: str) -> None:
    """Creates an organisation."""
    page.goto("/admin/accounts/org/add/")
    page.get_by_label("Name:").fill(name)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist .success")).to_contain_text(name)


def make_operator(page: Page, *, email: str, password: str, org: str) -> None:
    """Creates an operator of an organisation."""
    page.goto("/admin/accounts/user/add/")
    page.get_by_role("textbox", name="Email:").fill(email)
    page.get_by_label("Role:").select_option("operator")
    page.locator(".field-org").get_by_role("combobox").click()
    page.get_by_role("option", name=org, exact=True).click()
    page.get_by_label("New password:").fill(password)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist .success")).to_contain_text(email)


def set_default_rate(page: Page, *, password: str) -> None:
    """Sets the price of all models from long ago, which is possible while nothing has been accrued yet."""
    page.goto("/admin/earnings/rate/add/")
    page.locator("#id_input_usd").fill("0.5")
    page.locator("#id_output_usd").fill("1.5")
    page.locator("#id_cache_hit_discount").fill("0.5")
    page.locator("#id_holds_from_0").fill("2025-01-01")
    page.locator("#id_holds_from_1").fill("00:00:00")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Confirm and continue").click()
    expect(page.locator(".messagelist .success")).to_be_visible()
