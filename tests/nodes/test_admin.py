"""Nodes and validators in Django admin."""

import re

import pytest

from jatevo.accounts.models import Role
from jatevo.audit.models import AuditEvent
from nodes.models import Node, Validator
from tests.accounts.browser import Browser
from tests.factories import NodeFactory, UserFactory, ValidatorFactory
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> Browser:
    return Browser().hold_session(UserFactory.create(role=Role.ADMIN, email="the.admin@example.org"))


def test_making_a_validator_shows_its_token_once_and_it_works(admin: Browser) -> None:
    made = admin.submit("/admin/nodes/validator/add/", {"id": "validator-7", "is_active": "on"})
    assert made.status_code == 302
    page = admin.get(made["Location"]).content.decode()
    token = re.search(r"whsec_[A-Za-z0-9+/=]+", page)
    assert token is not None
    assert "whsec_" not in admin.get(made["Location"]).content.decode()
    validator = Validator.objects.get(pk="validator-7")
    assert SignedSender.validator(validator).get("/v1/validators/assignments").status_code == 200
    assert AuditEvent.objects.get(verb="validator.create").actor_id == "the.admin@example.org"


def test_dismissing_a_validator_is_audited(admin: Browser) -> None:
    validator = ValidatorFactory.create()
    assert admin.submit(f"/admin/nodes/validator/{validator.pk}/change/", {}).status_code == 302
    validator.refresh_from_db()
    assert validator.is_active is False
    event = AuditEvent.objects.get(verb="validator.edit")
    assert (event.subject_id, event.details) == (validator.pk, {"is_active": False})


def test_editing_a_node_is_audited_and_touches_nothing_else(admin: Browser) -> None:
    node = NodeFactory.create(status="active")
    answer = admin.submit(
        f"/admin/nodes/node/{node.pk}/change/", {"asn_hint": "AS64500", "status": "offline"}
    )
    assert answer.status_code == 302
    assert Node.objects.values_list("asn_hint", "status").get() == ("AS64500", "active")
    assert AuditEvent.objects.get(verb="node.edit").details == {"asn_hint": "AS64500"}


def test_a_hint_that_does_not_show_plainly_is_refused(admin: Browser) -> None:
    node = NodeFactory.create(asn_hint="AS64500")
    page = admin.submit(f"/admin/nodes/node/{node.pk}/change/", {"asn_hint": "AS\u202e64500"})
    assert "must be printable" in page.content.decode()
    assert Node.objects.get().asn_hint == "AS64500"


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])
def test_only_admins_get_in(role: Role) -> None:
    person = Browser().hold_session(UserFactory.create(role=role))
    for path in ("/admin/", "/admin/nodes/node/", "/admin/nodes/validator/add/"):
        assert person.get(path).status_code in (302, 403)
    stranger = Browser().get("/admin/nodes/node/")
    assert stranger.status_code == 302
