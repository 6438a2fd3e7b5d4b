"""PostgreSQL itself refuses ids and regions of nodes that break their rule. Columns and checks share the work."""

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from nodes.models import Node
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db

BAD = ["", "a\n", "\na", "a b", " a", "A", "a/b", "a:b", "\u00e9", "\u0131", "\uff41", "a\u0301", "\u0663"]


@pytest.mark.parametrize("field", ["id", "region"])
@pytest.mark.parametrize("text", BAD)
def test_nonsense_is_refused(field: str, text: str) -> None:
    node = NodeFactory.create()
    with pytest.raises(IntegrityError, match=f"node_{field}_wellformed"):
        Node.objects.filter(pk=node.pk).update(**{field: text})


def test_dots_and_underscores_are_for_ids() -> None:
    node = NodeFactory.create(id="a._-0")
    for region in ("a.b", "a_b"):
        with pytest.raises(IntegrityError, match="node_region_wellformed"), transaction.atomic():
            Node.objects.filter(pk=node.pk).update(region=region)


@pytest.mark.parametrize(("field", "most"), [("id", 64), ("region", 32)])
def test_length_is_limited_by_the_column(field: str, most: int) -> None:
    node = NodeFactory.create(**{field: "a" * most})
    with pytest.raises(DataError, match="too long"):
        Node.objects.filter(pk=node.pk).update(**{field: "a" * (most + 1)})


def test_checks_are_valid_for_all_rows() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT convalidated FROM pg_constraint"
            " WHERE conname IN ('node_id_wellformed', 'node_region_wellformed')"
        )
        assert cursor.fetchall() == [(True,), (True,)]
