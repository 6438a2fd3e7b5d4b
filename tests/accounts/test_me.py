"""GET /v1/users/me, with both ways of authentication."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jatevo.accounts.models import Org, RefreshSession, Role, User
from jatevo.accounts.permissions import Permission, allowed
from jatevo.accounts.tokens import sign_access
from tests.accounts.browser import Browser
from tests.accounts.people import make_user

ME = "/v1/users/me"

# Written out by hand: the role table may not change without this page being read.
MAY = {
    Role.ADMIN: {
        "enrol_fleets",
        "enrol_nodes",
        "manage_nodes",
        "manage_wallet",
        "pay_out",
        "quarantine_nodes",
        "review_earnings",
        "view_earnings",
        "view_nodes",
        "view_quarantine_evidence",
        "view_receipts",
        "view_wallets",
    },
    Role.OPERATOR: {
        "enrol_nodes",
        "manage_nodes",
        "manage_wallet",
        "view_earnings",
        "view_nodes",
        "view_receipts",
        "view_wallets",
    },
    Role.VIEWER: {"view_nodes", "view_receipts"},
}


@pytest.mark.parametrize("role", list(Role))
def test_each_role_gets_its_permissions(visitor: Browser, org: Org, role: Role) -> None:
    user = make_user(role, org=org)
    answer = visitor.hold_session(user).get(ME)
    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(user.pk),
        "email": user.email,
        "name": role.label,
        "role": role.value,
        "org": {"id": str(org.pk), "name": "Alpine Compute"},
        "permissions": sorted(MAY[role]),
    }


def test_without_an_organisation_it_is_null(visitor: Browser, viewer: User) -> None:
    assert visitor.hold_session(viewer).get(ME).json()["org"] is None


def test_strangers_are_unauthenticated(visitor: Browser, db: None) -> None:
    answer = visitor.get(ME)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "unauthenticated")
    assert answer["WWW-Authenticate"] == "Bearer"


def test_bearer_token_is_enough(visitor: Browser, operator: User) -> None:
    access = visitor.hold_session(operator).cookies["jatevo_access"].value
    answer = Browser().get(ME, headers={"Authorization": f"Bearer {access}"})
    assert answer.json()["email"] == operator.email


def test_bearer_token_goes_before_the_cookie(visitor: Browser, operator: User, admin: User) -> None:
    access = Browser().hold_session(admin).cookies["jatevo_access"].value
    answer = visitor.hold_session(operator).get(ME, headers={"Authorization": f"Bearer {access}"})
    assert answer.json()["email"] == admin.email


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "é", "x" * 5000])
def test_bad_bearer_token_is_refused_even_beside_a_good_cookie(
    visitor: Browser, operator: User, text: str
) -> None:
    answer = visitor.hold_session(operator).get(ME, headers={"Authorization": f"Bearer {text}"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_token")
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_expired_bearer_token_is_refused(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    family = RefreshSession.objects.get().family
    access = sign_access(user_id=operator.pk, family=family, at=timezone.now() - timedelta(seconds=306))
    answer = visitor.get(ME, headers={"Authorization": f"Bearer {access}"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_token")


def test_refresh_token_is_no_bearer_token(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    answer = Browser().get(ME, headers={"Authorization": f"Bearer {visitor.refresh_token}"})
    assert answer.status_code == 401


def test_another_scheme_leaves_the_cookie_in_force(visitor: Browser, operator: User) -> None:
    answer = visitor.hold_session(operator).get(ME, headers={"Authorization": "Basic c3RhZ2luZzp4"})
    assert answer.status_code == 200


def test_a_new_role_acts_on_the_next_request(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    User.objects.filter(pk=operator.pk).update(role=Role.VIEWER)
    assert visitor.get(ME).json()["permissions"] == sorted(MAY[Role.VIEWER])


def test_deactivated_user_is_refused_at_once(visitor: Browser, operator: User) -> None:
    access = visitor.hold_session(operator).cookies["jatevo_access"].value
    User.objects.filter(pk=operator.pk).update(is_active=False)
    assert visitor.get(ME).json()["error"]["type"] == "unauthenticated"
    answer = Browser().get(ME, headers={"Authorization": f"Bearer {access}"})
    assert answer.json()["error"]["type"] == "invalid_token"


@pytest.mark.parametrize("permission", list(Permission))
def test_the_role_table_is_what_allowed_says(permission: Permission, db: None) -> None:
    for role, may in MAY.items():
        assert allowed(User(role=role), permission) is (permission.value in may)
        assert not allowed(User(role=role, is_active=False), permission)
    assert not allowed(None, permission)
