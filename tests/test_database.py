"""The database that tests share."""

import pytest
from django.db import transaction

from tests.database import writes
from tests.factories import NodeFactory


@pytest.mark.django_db(transaction=True)
def test_a_test_that_commits_is_noticed() -> None:
    before = writes()
    NodeFactory.create()
    assert writes() != before


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_is_still_at_it_is_noticed() -> None:
    before = writes()
    with transaction.atomic():
        NodeFactory.create()
        assert writes() != before
