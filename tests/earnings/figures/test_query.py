"""The parameters of earnings: what they mean, and what is refused."""

from datetime import UTC, date, datetime

import pytest

from earnings.figures.query import EarningsQuery, read_query
from earnings.figures.scope import NotYours
from earnings.figures.series import By, Step
from jatevo.accounts.models import Role, User
from tests.accounts.people import make_user
from tests.factories import OrgFactory

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 10, 23, 30, tzinfo=UTC)


@pytest.fixture
def operator() -> User:
    return make_user(Role.OPERATOR, org=OrgFactory.create())


@pytest.fixture
def admin() -> User:
    return make_user(Role.ADMIN)


def asked(user: User, **params: str) -> EarningsQuery:
    return read_query({name.rstrip("_"): value for name, value in params.items()}, user, at=AT)


def test_without_days_it_is_the_last_thirty(operator: User) -> None:
    found = asked(operator)
    assert (found.first, found.last, found.days) == (date(2026, 2, 9), date(2026, 3, 10), 30)
    assert (found.step, found.by, found.scope.org_id, found.given) == (Step.DAY, By.ALL, operator.org_id, {})
    assert asked(operator, step="hour").days == 2


def test_everything_that_narrows(operator: User) -> None:
    found = asked(
        operator, node="n-1", model="QWEN3:latest", from_="2026-03-01", to="2026-03-02", state="held",
        rule="late", cause="late", by="node",
    )  # fmt: skip
    assert found.problems == {}
    assert (found.scope.node_id, found.scope.model, found.state) == ("n-1", "qwen3", "held")
    assert (found.scope.first, found.scope.last) == (date(2026, 3, 1), date(2026, 3, 2))
    assert found.suffix(state=None, by=None, rule=None, cause=None, from_="2026-03-02") == (
        "?node=n-1&model=QWEN3:latest&from=2026-03-02&to=2026-03-02"
    )


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"from_": "yesterday"}, "from"),
        ({"from_": "2026-03-05", "to": "2026-03-04"}, "from"),
        ({"from_": "2027-01-01"}, "from"),
        ({"to": "1999-01-01"}, "to"),
        ({"from_": "2020-01-01"}, "from"),
        ({"step": "minute"}, "step"),
        ({"by": "mood"}, "by"),
        ({"state": "paid"}, "state"),
        ({"rule": "luck"}, "rule"),
        ({"cause": "luck"}, "cause"),
        ({"line": "-1"}, "line"),
        ({"node": "a\x00b"}, "node"),
        ({"model": "\u202e"}, "model"),
    ],
)
def test_what_makes_no_sense_is_a_problem(operator: User, params: dict[str, str], wrong: str) -> None:
    found = asked(operator, **params)
    assert list(found.problems) == [wrong]
    assert found.first <= found.last <= AT.date()


def test_an_operator_has_one_organisation_and_an_admin_all(operator: User, admin: User) -> None:
    other = OrgFactory.create()
    assert asked(operator, org=str(operator.org_id)).scope.org_id == operator.org_id
    assert asked(admin).scope.org_id is None
    assert asked(admin, org=str(other.pk)).scope.org_id == other.pk
    for user, org in ((operator, str(other.pk)), (admin, "nobody"), (admin, "0" * 32)):
        with pytest.raises(NotYours):
            asked(user, org=org)


def test_a_line_opens_its_own_days(operator: User) -> None:
    found = asked(operator, line="12")
    assert (found.scope.line_id, found.scope.first, found.scope.org_id) == (12, None, operator.org_id)
