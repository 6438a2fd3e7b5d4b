"""The Merkle tree hash over an organisation's receipts of a month, which a statement prints.

The leaves are lines of text, `jatevo/receipt/v1 <node_id> <request_id> <hex SHA-256>`, in the order of their
bytes. They hold for receipts of every verdict.
"""

from collections.abc import Iterator
from datetime import date
from uuid import UUID

from django.db import connection

from earnings.models import Line
from jatevo.wire.merkle import receipt_leaf, tree_hash

_OF_NODE = """
SELECT request_id, sha256 FROM earnings_item
WHERE org_id = %s AND node_id = %s AND day >= %s AND day <= %s
ORDER BY request_id COLLATE "C"
"""
_AT_ONCE = 5_000


def root_hash(org_id: UUID, first: date, last: date) -> bytes:
    """The hash over the receipts of those UTC days, both included."""
    return tree_hash(_leaves(org_id, first, last))


def _leaves(org_id: UUID, first: date, last: date) -> Iterator[bytes]:
    """Node by node, so that the database never sorts more than one node's receipts.

    Node ids are ASCII, and a space sorts before all that they may contain, so this is the order of the lines.
    """
    lines = Line.objects.filter(org_id=org_id, day__range=(first, last)).order_by()
    for node_id in sorted(set(lines.values_list("node_id", flat=True))):
        with connection.chunked_cursor() as cursor:
            cursor.execute(_OF_NODE, [org_id, node_id, first, last])
            while rows := cursor.fetchmany(_AT_ONCE):
                for request_id, sha256 in rows:
                    yield receipt_leaf(node_id, request_id, bytes(sha256))
