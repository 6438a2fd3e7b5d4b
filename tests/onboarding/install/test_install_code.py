"""/install/<code>: what a new machine fetches, and for how long."""

import hashlib
import html
import re
from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.test import Client
from django.utils import timezone

from jatevo.accounts.models import Org
from nodes.models import Enrollment
from tests.accounts.browser import Browser
from tests.onboarding.test_run_a_node import ANSWERS, enrol, registered, text_of

pytestmark = pytest.mark.django_db


def code_in(page: str) -> str:
    found = re.search(r"/install/(jvi_[A-Za-z0-9_-]{20})\.sh \| sh", page)
    assert found, "the page shows no install command"
    return found[1]


def a_code(operator: Browser, **changes: str) -> tuple[Enrollment, str, str, str]:
    enrollment, token, page = enrol(operator, **changes)
    return enrollment, token, page, code_in(page)


def config_of(client: Client, code: str) -> Any:
    answer = client.get(f"/install/{code}/agent.yaml")
    assert answer.status_code == 200
    return yaml.safe_load(answer.content)


def test_the_page_shows_the_script_that_the_command_fetches(operator: Browser, client: Client) -> None:
    _, _, page, code = a_code(operator)
    answer = client.get(f"/install/{code}.sh")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/x-shellscript; charset=utf-8")
    assert "no-store" in answer["Cache-Control"]
    shown = re.search(r'<code id="install-script">(.*?)</code>', page, re.DOTALL)
    assert shown
    assert html.unescape(shown[1]) == answer.content.decode()
    assert hashlib.sha256(answer.content).hexdigest() in page


def test_reading_uses_nothing_up_and_the_file_registers_the_node(
    operator: Browser, client: Client, org: Org
) -> None:
    enrollment, token, _, code = a_code(operator)
    for _ in range(3):
        client.get(f"/install/{code}.sh")
        assert config_of(client, code)["enrollment_token"] == token
    node = registered(token, org)
    enrollment.refresh_from_db()
    assert enrollment.last_node == node


def test_the_code_is_stored_as_a_hash_only_and_in_no_later_page(operator: Browser) -> None:
    enrollment, token, _, code = a_code(operator)
    assert bytes(enrollment.install_sha256 or b"") == hashlib.sha256(code.encode()).digest()
    page = text_of(operator.get(f"/run-a-node/{enrollment.pk}/"))
    assert code not in page
    assert token not in page


def test_after_registration_the_script_may_run_again_but_the_file_has_no_token(
    operator: Browser, client: Client, org: Org
) -> None:
    _, token, _, code = a_code(operator)
    registered(token, org)
    assert "CODE=" in client.get(f"/install/{code}.sh").content.decode()
    assert "enrollment_token" not in config_of(client, code)


@pytest.mark.parametrize("how", ["expired", "revoked", "renewed", "demoted"])
def test_a_code_that_does_not_hold_says_so_and_gives_nothing(
    operator: Browser, client: Client, how: str
) -> None:
    enrollment, token, _, code = a_code(operator)
    if how == "expired":
        Enrollment.objects.update(install_expires_at=timezone.now() - timedelta(seconds=1))
    elif how == "revoked":
        operator.post(f"/run-a-node/{enrollment.pk}/revoke", headers=operator.csrf)
    elif how == "renewed":
        operator.post(f"/run-a-node/{enrollment.pk}/renew", headers=operator.csrf)
    else:
        enrollment.created_by.is_active = False
        enrollment.created_by.save()
    script = text_of(client.get(f"/install/{code}.sh"))
    assert "exit 1" in script
    assert "CODE=" not in script
    answer = client.get(f"/install/{code}/agent.yaml")
    assert answer.status_code == 410
    assert token not in answer.content.decode()


def test_a_renewed_enrolment_has_a_command_of_its_own(operator: Browser, client: Client) -> None:
    enrollment, _, _, code = a_code(operator)
    page = text_of(operator.post(f"/run-a-node/{enrollment.pk}/renew", headers=operator.csrf), 201)
    assert code_in(page) != code
    assert config_of(client, code_in(page))["node_id"] == ANSWERS["node_id"]


@pytest.mark.parametrize("code", ["jvi_" + "x" * 20, "jvi_short", "jve_" + "x" * 20, "x"])
def test_an_unknown_code_is_not_found(client: Client, code: str) -> None:
    assert client.get(f"/install/{code}.sh").status_code == 404
    assert client.get(f"/install/{code}/agent.yaml").status_code == 404


def test_the_enrolment_token_is_no_install_code(operator: Browser, client: Client) -> None:
    _, token, _, _ = a_code(operator)
    assert client.get(f"/install/{token}.sh").status_code == 404


def test_guessing_codes_is_limited_by_address(client: Client, settings: Any) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "install": "3/minute"}
    url = "/install/jvi_" + "x" * 20 + ".sh"
    statuses = [client.get(url).status_code for _ in range(5)]
    assert statuses == [404, 404, 404, 429, 429]


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_nothing_is_changed_there(client: Client, operator: Browser, method: str) -> None:
    _, _, _, code = a_code(operator)
    assert getattr(client, method)(f"/install/{code}.sh").status_code == 405
