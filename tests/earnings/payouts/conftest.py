"""Two admins, and operators whose nodes have earned something that is final."""

import pytest

from jatevo.accounts.models import Org, Role, User
from tests.accounts.people import make_user


@pytest.fixture
def org(db: None) -> Org:
    return Org.objects.create(name="Alpine Compute")


@pytest.fixture
def rival(db: None) -> Org:
    return Org.objects.create(name="Rival")


@pytest.fixture
def admin(db: None) -> User:
    return make_user(Role.ADMIN)


@pytest.fixture
def second_admin(db: None) -> User:
    return make_user(Role.ADMIN, email="second@example.org")
