"""Parts of the rows of the node list."""

from collections.abc import Sequence
from typing import Any

from django import template
from django.urls import get_script_prefix
from django.utils.safestring import SafeString

from jatevo.web.templatetags.rendered_once import rendered_once
from nodes.access.rights import Rights
from nodes.models import Node
from nodes.rules.lifecycle import Status
from nodes.slots import NodeAction

register = template.Library()


@register.simple_tag
def row_actions(node: Node, rights: Rights, acts: Sequence[tuple[NodeAction, str]]) -> SafeString:
    """`{% row_actions row.node rights acts %}`: the cell with the menu of what the person may do with the node.

    `acts` are actions that upper apps registered, each with its page.
    """
    entries = tuple((act.label, act.icon, url) for act, url in acts)
    quarantined = node.status == Status.QUARANTINE
    return _row_actions(
        node.pk, rights.name, quarantined, rights.moderate, rights.manage, entries, get_script_prefix()
    )


@rendered_once("nodes/list/row_actions.html", most=4096)  # the list polls for mostly the same rows
def _row_actions(
    node_id: str,
    name: str,
    quarantined: bool,
    moderate: bool,
    manage: bool,
    acts: tuple[tuple[str, str, str], ...],
    prefix: str,
) -> dict[str, Any]:
    """`prefix` is part of the links."""
    return {
        "node": {"pk": node_id},
        "name": name,
        "quarantined": quarantined,
        "rights": {"moderate": moderate, "manage": manage},
        "acts": acts,
    }
