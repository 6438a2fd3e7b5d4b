"""Which nodes an exemption covers: its own node or, without one, all nodes of its region ('' is all regions).

The rule exists for querysets, for Python values and for SQL. A test checks that all of them agree.
"""

from django.db import models

_OWN = "{exemption}.node_id = {node}.id"
_OF_REGION = "{exemption}.node_id IS NULL AND {exemption}.region IN ('', {node}.region)"


def covering_node(node_id: str, region: str) -> models.Q:
    """The exemptions that cover a node."""
    everybody = models.Q(node__isnull=True, region__in=("", region))
    return models.Q(node=node_id) | everybody


def covers(exempted_node: str | None, exempted_region: str, node_id: str, region: str) -> bool:
    """Whether an exemption of that node or region covers a node."""
    return exempted_node == node_id if exempted_node else exempted_region in ("", region)


def covers_sql(exemption: str, node: str) -> str:
    """SQL that joins two aliases: a row with `node_id` and `region`, and a node that it covers."""
    names = {"exemption": exemption, "node": node}
    return f"({_OWN.format(**names)} OR ({_OF_REGION.format(**names)}))"


def covered_nodes_sql(exemptions: str, columns: str) -> str:
    """SQL for the nodes (`node_id`) that the rows `e` of a table cover, with `columns` of these rows.

    It is a union of two joins, so that each can use an index.
    """
    names = {"exemption": "e", "node": "n"}
    own, of_region = _OWN.format(**names), _OF_REGION.format(**names)
    select = f"SELECT n.id AS node_id, {columns} FROM {exemptions} e JOIN nodes_node n ON"  # noqa: S608 - constants
    return f"{select} {own} UNION ALL {select} {of_region}"
