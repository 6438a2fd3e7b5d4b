"""One example for each endpoint: a command for the shell, and what it prints. The tests run them all.

They are files of `examples/`, named after the operation of the OpenAPI document: a title, perhaps some words,
the command, and the answer. They read as one story in which `macbook-001` is enrolled, serves a request and is
paid for it.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

EXAMPLES = Path(__file__).parent / "examples"
_FORM = re.compile(
    r"# (?P<title>[^\n]+)\n\n(?P<words>.*?)```sh\n(?P<command>.*?)```\n(?:\n```json\n(?P<answer>.*?)```\n)?\Z",
    re.DOTALL,
)


@dataclass(frozen=True)
class Example:
    """`answer` is empty if the command prints nothing."""

    title: str
    words: str
    command: str
    answer: str


@cache
def example_of(operation_id: str) -> Example | None:
    """The example of an operation. Raises ValueError if its file does not have the form."""
    file = EXAMPLES / f"{operation_id}.md"
    if not file.is_file():
        return None
    found = _FORM.match(file.read_text())
    if found is None:
        raise ValueError(f"{file.name} is not a title, a command and an answer")
    return Example(
        found["title"], found["words"].strip(), found["command"], (found["answer"] or "").rstrip("\n")
    )
