"""An enrolment ends if it is revoked or renewed, or if its creator may no longer enrol nodes there."""

import base64
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.utils import timezone
from guardian.models import UserObjectPermission
from guardian.shortcuts import assign_perm
from nacl.signing import SigningKey

from jatevo.accounts.actions import save_user
from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from nodes import actions
from nodes.models import Enrollment, Node
from tests.accounts.browser import Browser, text_of
from tests.factories import NodeFactory, OrgFactory, UserFactory
from tests.machines import bearer

pytestmark = pytest.mark.django_db


def org_of(user: User) -> Org:
    assert user.org is not None
    return user.org


def enrolled(user: User, org: Org | None = None, **fields: Any) -> tuple[Enrollment, str]:
    return actions.enrol(org=org or org_of(user), by=user, at=timezone.now(), **fields)


def register(token: str, node_id: str = "macbook-001") -> Any:
    key = base64.b64encode(bytes(SigningKey.generate().verify_key)).decode()
    body = {"node_id": node_id, "region": "eu", "runtime": "ollama", "public_key": f"ed25519:{key}"}
    headers = {"Authorization": f"Bearer {token}"}
    return Client().post("/v1/nodes/register", body, content_type="application/json", headers=headers)


def listed(user: User) -> list[dict[str, Any]]:
    answer = Client().get("/v1/enrollments", headers=bearer(user))
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def change(user: User, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(user, name, value)
    admin = UserFactory.create(role=Role.ADMIN)
    save_user(user=user, changes=dict.fromkeys(fields, ("", "")), by=admin, at=timezone.now())


def deactivate(user: User) -> None:
    change(user, is_active=False)


def demote(user: User) -> None:
    change(user, role=Role.VIEWER)


def move(user: User) -> None:
    change(user, org=OrgFactory.create())


# --- with the person


@pytest.mark.parametrize("lose", [deactivate, demote, move])
def test_token_ends_with_its_makers_standing_for_good(lose: Any) -> None:
    maker = UserFactory.create()
    home = org_of(maker)
    enrollment, token = enrolled(maker)
    lose(maker)
    refused = register(token)
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "invalid_token")
    assert not Node.objects.exists()
    event = AuditEvent.objects.get(verb="enrollment.end")
    assert (event.subject_id, event.org_id) == (str(enrollment.pk), home.pk)
    change(maker, is_active=True, role=Role.OPERATOR, org=home)
    assert register(token).status_code == 401


@pytest.mark.parametrize(
    "fields",
    [{"is_active": False}, {"role": Role.VIEWER}, {"org": "another"}],
    ids=lambda fields: next(iter(fields)),
)
def test_token_is_judged_by_who_its_maker_is_now_however_that_came(fields: dict[str, Any]) -> None:
    maker = UserFactory.create()
    _, token = enrolled(maker)
    if "org" in fields:
        fields = {"org": OrgFactory.create()}
    User.objects.filter(pk=maker.pk).update(**fields)
    assert register(token).status_code == 401


def test_admins_fleet_token_ends_when_the_admin_becomes_another_orgs_operator() -> None:
    admin, other, home = UserFactory.create(role=Role.ADMIN), OrgFactory.create(), OrgFactory.create()
    _, abroad = enrolled(admin, other, uses=5)
    _, at_home = enrolled(admin, home, uses=5)
    change(admin, role=Role.OPERATOR, org=home)
    assert register(abroad, "n-1").status_code == 401
    assert register(at_home, "n-2").status_code == 201


def test_promotion_and_a_new_name_end_nothing() -> None:
    maker = UserFactory.create()
    _, token = enrolled(maker)
    change(maker, role=Role.ADMIN, name="Ada Lovelace")
    assert register(token).status_code == 201


@pytest.mark.parametrize("lose", [deactivate, move])
def test_grant_to_see_a_node_ends_with_the_persons_standing(lose: Any) -> None:
    partner, node = UserFactory.create(role=Role.VIEWER), NodeFactory.create()
    assign_perm("view_node", partner, node)
    assert partner.has_perm("nodes.view_node", node)
    lose(partner)
    assert not UserObjectPermission.objects.filter(
        user=partner, content_type=ContentType.objects.get_for_model(Node)
    ).exists()
    event = AuditEvent.objects.get(verb="node.grant_end")
    assert (event.subject_id, event.details) == (
        node.pk,
        {"person": partner.email, "permission": "view_node"},
    )


def test_nodes_that_registered_stay_when_the_maker_leaves() -> None:
    maker = UserFactory.create()
    _, token = enrolled(maker)
    assert register(token).status_code == 201
    deactivate(maker)
    assert Node.objects.get().org == maker.org


# --- by hand


def test_open_enrolments_are_listed_without_tokens_only_to_their_org() -> None:
    maker, colleague, rival = UserFactory.create(), None, UserFactory.create()
    colleague = UserFactory.create(org=maker.org)
    made, token = enrolled(maker, node_id="mine-1", region="eu", runtime="ollama")
    (line,) = listed(colleague)
    assert line["id"] == str(made.pk) and line["node_id"] == "mine-1" and line["uses_left"] == 1
    assert (line["created_by"], line["org"]) == (maker.email, org_of(maker).name)
    assert token not in str(line) and "token" not in line
    assert listed(rival) == []
    admin = UserFactory.create(role=Role.ADMIN)
    assert [each["id"] for each in listed(admin)] == [str(made.pk)]
    viewer = Client().get("/v1/enrollments", headers=bearer(UserFactory.create(role=Role.VIEWER)))
    assert viewer.status_code == 403
    assert Client().get("/v1/enrollments").status_code == 401


def test_what_is_used_up_expired_or_ended_is_not_listed() -> None:
    maker = UserFactory.create()
    _, used = enrolled(maker)
    assert register(used).status_code == 201
    assert listed(maker) == []
    enrolled(maker)
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        assert listed(maker) == []


def test_list_is_paged() -> None:
    maker = UserFactory.create()
    made = [str(enrolled(maker)[0].pk) for _ in range(3)]
    first = Client().get("/v1/enrollments?limit=2", headers=bearer(maker)).json()
    second = Client().get(f"/v1/enrollments?limit=2&cursor={first['next']}", headers=bearer(maker)).json()
    assert [line["id"] for line in first["results"] + second["results"]] == made[::-1]
    assert second["next"] is None


def test_ended_enrolment_registers_nothing_and_ending_it_again_does_nothing() -> None:
    maker = UserFactory.create()
    made, token = enrolled(maker)
    for _ in range(2):
        assert Client().delete(f"/v1/enrollments/{made.pk}", headers=bearer(maker)).status_code == 204
    assert register(token).json()["error"]["type"] == "invalid_token"
    event = AuditEvent.objects.get(verb="enrollment.end")
    assert (event.actor_user_id, event.reason) == (maker.pk, "Revoked.")


def test_another_orgs_enrolment_cannot_be_ended() -> None:
    made, token = enrolled(UserFactory.create())
    rival = UserFactory.create()
    assert Client().delete(f"/v1/enrollments/{made.pk}", headers=bearer(rival)).status_code == 404
    assert Client().delete(f"/v1/enrollments/{made.pk}").status_code == 401
    assert register(token).status_code == 201


def test_answer_names_the_enrolment_that_can_be_ended() -> None:
    maker = UserFactory.create()
    made = Client().post("/v1/enrollments", {}, content_type="application/json", headers=bearer(maker)).json()
    assert Client().delete(f"/v1/enrollments/{made['id']}", headers=bearer(maker)).status_code == 204
    assert register(made["token"]).status_code == 401


# --- on the pages


def test_page_lists_open_enrolments_and_revokes_them() -> None:
    maker = UserFactory.create()
    made, token = enrolled(maker, node_id="mine-1")
    browser = Browser().hold_session(maker)
    page = text_of(browser.get("/run-a-node/"))
    assert "Open enrolments" in page and "mine-1" in page
    assert browser.post(f"/run-a-node/{made.pk}/revoke").status_code == 403  # without the CSRF token
    answer = browser.submit_to(f"/run-a-node/{made.pk}/revoke", page="/run-a-node/")
    assert answer.status_code == 302
    after = text_of(browser.get("/run-a-node/"))
    assert "Open enrolments" not in after and "The token for mine-1 is revoked." in after
    assert register(token, "mine-1").status_code == 401
    assert "no longer works" in text_of(browser.get(f"/run-a-node/{made.pk}/"))


def test_page_revokes_nothing_of_another_org() -> None:
    made, token = enrolled(UserFactory.create())
    browser = Browser().hold_session(UserFactory.create())
    assert browser.submit_to(f"/run-a-node/{made.pk}/revoke", page="/password/").status_code == 404
    assert register(token).status_code == 201


def test_renewal_ends_the_old_token() -> None:
    maker = UserFactory.create()
    old, token = enrolled(maker, node_id="mine-1", region="eu", runtime="ollama")
    browser = Browser().hold_session(maker)
    answer = browser.submit_to(f"/run-a-node/{old.pk}/renew", page="/run-a-node/")
    assert answer.status_code == 201
    assert register(token, "mine-1").status_code == 401
    assert [line["node_id"] for line in listed(maker)] == ["mine-1"]
    again = browser.submit_to(f"/run-a-node/{old.pk}/renew", page="/run-a-node/")
    assert again.status_code == 409 and "has already ended" in again.content.decode()
    assert len(listed(maker)) == 1
