"""Readers of pages for conftests to import: an organisation, and its operator in a browser."""

import pytest

from jatevo.accounts.models import Org, Role
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.factories import OrgFactory


@pytest.fixture
def org() -> Org:
    return OrgFactory.create()


@pytest.fixture
def operator(org: Org) -> Browser:
    return Browser().hold_session(make_user(Role.OPERATOR, org=org))
