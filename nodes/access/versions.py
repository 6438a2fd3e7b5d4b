"""Which version texts are shown to people who may not know the node.

An agent reports its version as free text, which could contain its owner's name.
"""

import re

# 1.4.0, v550.54.15, 12.4, 2.0.0-rc.1, 0.9.1.post2, 24.04b2
_PLAIN = re.compile(
    r"v?[0-9]{1,4}(\.[0-9]{1,5}){0,3}([-._+]?(a|b|rc|alpha|beta|pre|dev|post)[-.]?[0-9]{0,4})?", re.ASCII
)


def plain_version(text: str) -> str:
    """The text if it is only a version number, else ''."""
    return text if _PLAIN.fullmatch(text) else ""
