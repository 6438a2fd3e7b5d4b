"""The programs that stand in the Docs, as they stand there."""

import re

from jatevo.docs.book import find_page, source_of

FENCE = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def program(slug: str, name: str) -> str:
    """The block of a page that has this name. Raises StopIteration if there is none."""
    page = find_page(slug)
    assert page is not None
    return next(code for _, label, code in FENCE.findall(source_of(page)) if label == name)


def first_block(slug: str, language: str) -> str:
    """The first block of a page in this language."""
    page = find_page(slug)
    assert page is not None
    return next(code for kind, _, code in FENCE.findall(source_of(page)) if kind == language)
