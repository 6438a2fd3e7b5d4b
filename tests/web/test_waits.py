"""What the browser tests wait for can be asked again under the console's Content-Security-Policy."""

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]


def expressions_waited_for(source: str) -> list[str]:
    """The scripts that `wait_for_function` is given as a literal."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        str(call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "wait_for_function"
        and isinstance(call.args[0], ast.Constant)
    ]


def test_every_wait_names_a_function() -> None:
    """Playwright evaluates a bare expression by `eval`, which the policy refuses if the first look finds it false."""
    found = [text for path in TESTS.rglob("*.py") for text in expressions_waited_for(path.read_text())]
    assert found
    assert [text for text in found if "=>" not in text] == []
