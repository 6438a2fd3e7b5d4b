"""Django admin uses the console's login, is only for staff, and every change is audited."""

from typing import Any

import pytest
from django.contrib.auth.hashers import check_password

from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser
from tests.accounts.people import PASSWORD

USERS = "/admin/accounts/user/"
NEW = "a much better passphrase"


def fields_of(user: User, **changed: str) -> dict[str, str]:
    fields = {
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "org": str(user.org_id or ""),
        "is_active": "on",
        "new_password": "",
    }
    return {name: value for name, value in {**fields, **changed}.items() if value or name != "is_active"}


def change(visitor: Browser, user: User, **changed: str) -> Any:
    return visitor.submit(f"{USERS}{user.pk}/change/", fields_of(user, **changed))


def test_strangers_sign_in_on_the_consoles_login_page(visitor: Browser, admin: User) -> None:
    door = visitor.get("/admin/")
    assert door["Location"] == "/admin/login/?next=/admin/"
    page = visitor.get(door["Location"])
    assert page["Location"] == "/login/?next=%2Fadmin%2F"
    answer = visitor.submit(page["Location"], {"email": admin.email, "password": PASSWORD, "next": "/admin/"})
    assert answer["Location"] == "/admin/"
    assert visitor.get("/admin/").status_code == 200


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])
def test_only_admins_may_enter(visitor: Browser, operator: User, viewer: User, role: Role) -> None:
    visitor.hold_session(operator if role == Role.OPERATOR else viewer)
    assert visitor.get(USERS, follow=True).status_code == 403


def test_demotion_takes_the_keys_at_once(visitor: Browser, admin: User) -> None:
    visitor.hold_session(admin)
    assert visitor.get(USERS).status_code == 200
    User.objects.filter(pk=admin.pk).update(role=Role.VIEWER)
    assert visitor.get(USERS, follow=True).status_code == 403


def test_admin_pages_refresh_silently_too(visitor: Browser, admin: User) -> None:
    visitor.hold_session(admin).lose_access_token()
    assert visitor.get(USERS).status_code == 200


def test_admin_adds_a_person_who_can_sign_in(visitor: Browser, admin: User, org: Org) -> None:
    visitor.hold_session(admin)
    answer = visitor.submit(
        f"{USERS}add/",
        {"email": "Ada@Example.org", "name": "Ada", "role": "operator", "org": str(org.pk), "is_active": "on"}
        | {"new_password": NEW},
    )
    assert answer.status_code == 302
    ada = User.objects.get(email="ada@example.org")
    Browser().sign_in(ada, NEW)
    event = AuditEvent.objects.get(verb="user.create")
    assert (event.actor_user_id, event.subject_id, event.details["role"]) == (
        admin.pk,
        str(ada.pk),
        "operator",
    )
    assert NEW not in str(event.details)


def test_operator_without_an_organisation_is_refused(visitor: Browser, admin: User, viewer: User) -> None:
    answer = change(visitor.hold_session(admin), viewer, role="operator")
    assert answer.status_code == 200
    assert "An operator belongs to an organisation." in answer.content.decode()
    assert User.objects.get(pk=viewer.pk).role == Role.VIEWER


def test_role_change_is_on_record(visitor: Browser, admin: User, operator: User) -> None:
    assert change(visitor.hold_session(admin), operator, role="viewer").status_code == 302
    event = AuditEvent.objects.get(verb="user.change")
    assert event.details["changes"] == {"role": ["operator", "viewer"]}
    assert event.org_id == operator.org_id


def test_saving_without_a_change_records_nothing(visitor: Browser, admin: User, operator: User) -> None:
    assert change(visitor.hold_session(admin), operator).status_code == 302
    assert not AuditEvent.objects.filter(verb__startswith="user.").exists()


def test_deactivated_person_is_signed_out(visitor: Browser, admin: User, operator: User) -> None:
    theirs = Browser().hold_session(operator)
    assert change(visitor.hold_session(admin), operator, is_active="").status_code == 302
    theirs.lose_access_token()
    assert theirs.get("/v1/users/me").status_code == 401
    assert not operator.refresh_sessions.filter(revoked_at=None).exists()


def test_password_reset_ends_the_logins_of_that_person(visitor: Browser, admin: User, operator: User) -> None:
    theirs = Browser().hold_session(operator)
    assert change(visitor.hold_session(admin), operator, new_password=NEW).status_code == 302
    assert check_password(NEW, User.objects.get(pk=operator.pk).password)
    assert theirs.get("/v1/users/me").status_code == 401
    assert AuditEvent.objects.get(verb="user.password_change").actor_user_id == admin.pk


def test_weak_password_is_refused(visitor: Browser, admin: User, operator: User) -> None:
    assert change(visitor.hold_session(admin), operator, new_password="password1234").status_code == 200
    assert check_password(PASSWORD, User.objects.get(pk=operator.pk).password)


def test_people_cannot_be_deleted(visitor: Browser, admin: User, operator: User) -> None:
    visitor.hold_session(admin)
    assert visitor.get(f"{USERS}{operator.pk}/delete/").status_code == 403
    assert visitor.get(f"/admin/accounts/org/{operator.org_id}/delete/").status_code == 403


def test_org_changes_are_on_record(visitor: Browser, admin: User) -> None:
    visitor.hold_session(admin)
    assert visitor.submit("/admin/accounts/org/add/", {"name": "Fjord GPUs"}).status_code == 302
    org = Org.objects.get(name="Fjord GPUs")
    assert AuditEvent.objects.get(verb="org.create").org_id == org.pk


def test_neither_groups_nor_devices_have_pages(visitor: Browser, admin: User) -> None:
    visitor.hold_session(admin)
    assert visitor.get("/admin/otp_totp/totpdevice/").status_code == 404
    assert visitor.get("/admin/auth/group/").status_code == 404


def test_sign_out_of_admin_is_the_sign_out(visitor: Browser, admin: User) -> None:
    visitor.hold_session(admin)
    visitor.get("/admin/")
    assert visitor.post("/admin/logout/", headers=visitor.csrf).status_code == 302
    assert not admin.refresh_sessions.filter(revoked_at=None).exists()
    assert visitor.get("/admin/password_change/")["Location"] == "/password/"
