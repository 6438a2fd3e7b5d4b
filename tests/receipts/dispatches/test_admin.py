"""Gateways and what they said, in Django admin."""

import re
import time

import pytest

from jatevo.accounts.models import Role
from jatevo.audit.models import AuditEvent
from receipts.models import Gateway
from tests.accounts.browser import Browser
from tests.factories import GatewayFactory, UserFactory
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> Browser:
    return Browser().hold_session(UserFactory.create(role=Role.ADMIN, email="the.admin@example.org"))


def said(**changes: object) -> dict[str, object]:
    return {"request_id": "r_1", "node_id": "n-1", "model_id": "qwen3", "ts": int(time.time()), **changes}


def test_making_a_gateway_shows_its_token_once_and_it_works(admin: Browser) -> None:
    made = admin.submit("/admin/receipts/gateway/add/", {"id": "gw-7", "is_active": "on"})
    assert made.status_code == 302
    page = admin.get(made["Location"]).content.decode()
    assert re.search(r"JATEVO_GATEWAY_TOKEN\): whsec_[A-Za-z0-9+/=]+", page)
    assert "whsec_" not in admin.get(made["Location"]).content.decode()
    gateway = Gateway.objects.get(pk="gw-7")
    assert SignedSender.gateway(gateway).send("/v1/dispatches", said()).status_code == 200
    assert AuditEvent.objects.get(verb="gateway.create").actor_id == "the.admin@example.org"


def test_a_new_token_ends_the_old_one_and_a_dismissed_gateway_is_refused(admin: Browser) -> None:
    gateway = GatewayFactory.create(id="gw-7")
    old = SignedSender.gateway(gateway)
    fields = {"action": "new_token", "_selected_action": "gw-7"}
    assert admin.submit("/admin/receipts/gateway/", fields).status_code == 302
    assert old.send("/v1/dispatches", said()).status_code == 401
    gateway.refresh_from_db()
    fresh = SignedSender.gateway(gateway)
    assert fresh.send("/v1/dispatches", said()).status_code == 200
    assert admin.submit("/admin/receipts/gateway/gw-7/change/", {}).status_code == 302
    assert fresh.send("/v1/dispatches", said()).status_code == 401
    assert AuditEvent.objects.filter(verb="gateway.edit", subject_id="gw-7").count() == 1


def test_admins_see_dispatches_winners_and_contradictions(admin: Browser) -> None:
    machine = SignedSender.gateway(GatewayFactory.create(id="gw-7"))
    winner = {"request_id": "r_1", "winner": "n-1"}
    machine.send("/v1/dispatches", {"dispatches": [said(), winner, said(hedged=True)]})
    for table in ("dispatch", "dispatchwinner", "dispatchconflict"):
        page = admin.get(f"/admin/receipts/{table}/?q=r_1").content.decode()
        assert "r_1" in page
        assert "gw-7" in page


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])
def test_nobody_but_admins_gets_in(role: Role) -> None:
    person = Browser().hold_session(UserFactory.create(role=role))
    for path in ("gateway/", "gateway/add/", "dispatch/", "dispatchconflict/"):
        assert person.get(f"/admin/receipts/{path}").status_code in (302, 403)
