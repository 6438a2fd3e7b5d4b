"""The last active admin cannot be demoted or deactivated, even if two admins do it to each other at once."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from jatevo.accounts.actions import LastAdmin, save_user
from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser
from tests.accounts.people import make_user

USERS = "/admin/accounts/user/"


def demote(user: User, *, by: User) -> None:
    user.role = Role.VIEWER
    save_user(user=user, changes={"role": ("admin", "viewer")}, by=by, at=timezone.now())


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"is_active": ""}])
def test_last_admin_stays(admin: User, operator: User, change: dict[str, str]) -> None:
    make_user(Role.ADMIN, email="gone@example.org", is_active=False)
    fields = {
        "email": admin.email,
        "name": admin.name,
        "role": "admin",
        "is_active": "on",
        "new_password": "",
    }
    sent = {name: value for name, value in {**fields, **change}.items() if value}
    browser = Browser().hold_session(admin)
    answer = browser.submit(f"{USERS}{admin.pk}/change/", sent)
    assert answer.status_code == 302
    assert (
        "Nothing was saved. This is the last active admin" in browser.get(answer["Location"]).content.decode()
    )
    stored = User.objects.get(pk=admin.pk)
    assert stored.is_admin and stored.is_active
    assert not AuditEvent.objects.filter(verb="user.change").exists()


def test_last_admin_is_not_deleted(admin: User) -> None:
    browser = Browser().hold_session(admin)
    assert browser.get(f"{USERS}{admin.pk}/delete/").status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": str(admin.pk), "post": "yes"}
    browser.submit(USERS, chosen)
    assert User.objects.filter(pk=admin.pk).exists()


def test_one_of_two_admins_can_be_demoted(admin: User) -> None:
    other = make_user(Role.ADMIN, email="other@example.org")
    demote(other, by=admin)
    with pytest.raises(LastAdmin):
        demote(admin, by=admin)
    assert not User.objects.get(pk=other.pk).is_admin and User.objects.get(pk=admin.pk).is_admin


def test_other_changes_of_the_last_admin_are_saved(admin: User, org: Org) -> None:
    admin.name, admin.org = "Ada", org
    save_user(user=admin, changes={"name": ("", "Ada")}, by=admin, at=timezone.now())
    assert User.objects.get(pk=admin.pk).name == "Ada"


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_demote_each_other_at_once_leave_one() -> None:
    people = [make_user(Role.ADMIN, email=f"admin{number}@example.org") for number in range(2)]
    together, outcomes = threading.Barrier(2, timeout=30), []

    def run(target: User, by: User) -> None:
        try:
            together.wait()
            demote(target, by=by)
            outcomes.append("demoted")
        except LastAdmin:
            outcomes.append("refused")
        finally:
            connection.close()

    pairs: list[Any] = [(people[0], people[1]), (people[1], people[0])]
    threads = [threading.Thread(target=run, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(outcomes) == ["demoted", "refused"]
    assert User.objects.filter(role=Role.ADMIN, is_active=True).count() == 1
