"""An admin in a browser, and everybody who is not one."""

import pytest

from jatevo.accounts.models import Org, Role, User
from tests.accounts.browser import Browser
from tests.accounts.people import PASSWORD, make_user


@pytest.fixture
def org(db: None) -> Org:
    return Org.objects.create(name="Alpine Compute")


@pytest.fixture
def admin(db: None) -> User:
    return make_user(Role.ADMIN)


@pytest.fixture
def second_admin(db: None) -> User:
    return make_user(Role.ADMIN, email="second@example.org")


@pytest.fixture
def desk(admin: User) -> Browser:
    """The admin, who has just confirmed who they are."""
    return proven(admin)


def proven(user: User) -> Browser:
    browser = Browser().hold_session(user)
    browser.submit("/account/confirm/", {"identity-current": PASSWORD})
    return browser


@pytest.fixture
def outsiders(org: Org) -> dict[str, Browser]:
    """Everybody who may not pay out, also the operator who is paid."""
    return {
        "operator": Browser().hold_session(make_user(Role.OPERATOR, org=org)),
        "viewer": Browser().hold_session(make_user(Role.VIEWER)),
        "visitor": Browser(),
    }
