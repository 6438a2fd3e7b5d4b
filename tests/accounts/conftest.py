"""People of two organisations, and a browser for each test."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection

from jatevo.accounts.models import Org, Role, User
from tests.accounts.browser import Browser
from tests.accounts.people import make_user


@pytest.fixture
def org(db: None) -> Org:
    return Org.objects.create(name="Alpine Compute")


@pytest.fixture
def operator(org: Org) -> User:
    return make_user(Role.OPERATOR, org=org)


@pytest.fixture
def admin(db: None) -> User:
    return make_user(Role.ADMIN)


@pytest.fixture
def viewer(db: None) -> User:
    return make_user(Role.VIEWER)


@pytest.fixture
def visitor() -> Browser:
    return Browser()


@pytest.fixture
def db_down() -> Callable[[], AbstractContextManager[None]]:
    """`with db_down():` every statement fails as it does when PostgreSQL has gone away."""

    def refuse(*_: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    @contextmanager
    def down() -> Iterator[None]:
        with connection.execute_wrapper(refuse):
            yield

    return down
