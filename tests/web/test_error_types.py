"""Every error type is in one list, with its meaning, and the code raises no other."""

import ast
from pathlib import Path

from django.conf import settings
from django.test import Client

from jatevo.web.error_types import MEANINGS, ErrorType
from nodes.ingress.refusals import _STATUS
from receipts.dispatches.recording import Recorded
from receipts.judging import Ruling

APPS = ("jatevo", "nodes", "receipts", "earnings", "onboarding")


def sources() -> list[Path]:
    found = [path for app in APPS for path in (settings.BASE_DIR / app).rglob("*.py")]
    return [path for path in found if "onboarding/agent/" not in str(path)]


def raised() -> list[tuple[str, int, str]]:
    """Where ApiError is made with a literal status and type."""
    found = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ApiError":
                status, type_ = node.args[:2]
                if isinstance(status, ast.Constant) and isinstance(type_, ast.Constant):
                    found.append((path.name, int(str(status.value)), str(type_.value)))
    return found


def test_the_code_raises_known_types_with_their_statuses() -> None:
    places = raised()
    assert len(places) > 30
    for name, status, type_ in places:
        assert status in MEANINGS[ErrorType(type_)].statuses, f"{name}: {status} {type_}"


def test_types_from_tables_are_known_too() -> None:
    for status, type_ in _STATUS.values():
        assert status in MEANINGS[ErrorType(type_)].statuses
    for ruling in (Ruling.CONFLICT, Ruling.INVALID, Ruling.MISMATCH, Ruling.FORGED, Recorded.CONFLICT):
        assert ErrorType(ruling) in MEANINGS


def test_every_type_is_raised_somewhere_and_explained() -> None:
    assert set(MEANINGS) == set(ErrorType)
    text = "".join(path.read_text() for path in sources() if path.name != "error_types.py")
    assert not [type_ for type_ in ErrorType if f'"{type_}"' not in text]


def test_the_openapi_document_and_the_docs_list_them(db: None) -> None:
    schema = Client().get("/v1/openapi.json").json()["components"]["schemas"]["Error"]
    assert schema["properties"]["error"]["properties"]["type"]["enum"] == list(ErrorType)
    page = Client().get("/docs/api/errors.md").content.decode()
    assert all(f"| `{type_}` |" in page for type_ in ErrorType)
