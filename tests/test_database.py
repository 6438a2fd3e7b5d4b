"""The database that tests share."""

import pytest

from tests.database import log_position
from tests.factories import NodeFactory


@pytest.mark.django_db(transaction=True)
def test_a_test_that_commits_is_noticed() -> None:
    before = log_position()
    NodeFactory.create()
    assert log_position() != before
