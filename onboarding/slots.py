"""What Run a Node adds to the page of a node: that a newer agent is out."""

import re

from nodes.models import Node
from nodes.slots import TabContent, register_notice
from onboarding.agent_config import Platform
from onboarding.agent_wheel import newest_version
from onboarding.commands import chores_of

_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}")


def register() -> None:
    register_notice(update_notice)


def update_notice(node: Node) -> TabContent | None:
    """How to update the node's agent, if this console serves a newer one."""
    newest = newest_version()
    if not is_older(node.agent_version, newest):
        return None
    ways = [
        (way.title, chore.command)
        for platform in (Platform.MAC, Platform.NVIDIA)
        for way in chores_of(platform)
        for chore in way.chores
        if chore.name == "Update"
    ]
    context = {"installed": node.agent_version, "newest": newest, "ways": ways}
    return TabContent("onboarding/update_notice.html", context)


def is_older(version: str, newest: str) -> bool:
    """Whether both are plain version numbers and the first is the lower one. Agents of others may have any text."""
    if not (_VERSION.fullmatch(version) and _VERSION.fullmatch(newest)):
        return False
    return _numbers(version) < _numbers(newest)


def _numbers(version: str) -> list[int]:
    numbers = [int(part) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
