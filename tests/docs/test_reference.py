"""The API reference describes every endpoint, from the OpenAPI document that the console serves."""

import re

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from jatevo.docs import reference
from jatevo.docs.book import find_page, rendered, source_of
from jatevo.docs.schemas import kind_of, members
from tests.accounts.browser import text_of

METHODS = {"get", "post", "put", "patch", "delete"}
# The document itself is served below /v1 and is no part of what it describes.
UNDESCRIBED = {"/v1/openapi.json"}


def routes() -> dict[str, set[str]]:
    """path → methods of every route below /v1, as the URL configuration has them."""
    found: dict[str, set[str]] = {}

    def walk(patterns: list[URLPattern | URLResolver], before: str) -> None:
        for pattern in patterns:
            path = before + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                walk(pattern.url_patterns, path)
            elif path.startswith("v1/"):
                name = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)
                view = getattr(pattern.callback, "cls", None)
                allowed = view.http_method_names if view else ["get"]
                found.setdefault(name, set()).update(METHODS & set(allowed))

    walk(get_resolver().url_patterns, "")
    return found


def test_the_document_and_the_routes_are_the_same_both_ways(db: None) -> None:
    document = Client().get("/v1/openapi.json").json()
    described = {path: METHODS & set(by_method) for path, by_method in document["paths"].items()}
    routed = {path: methods for path, methods in routes().items() if path not in UNDESCRIBED}
    assert len(routed) > 20
    assert described == routed


def test_the_reference_is_written_from_the_served_document(db: None) -> None:
    served = Client().get("/v1/openapi.json").json()
    assert {(each.method, each.path) for each in reference.operations()} == {
        (method.upper(), path) for path, by_method in served["paths"].items() for method in by_method
    }


def test_every_endpoint_is_on_exactly_one_page() -> None:
    listed = [each.id for page in reference.PAGES for each in reference.operations_of(page)]
    assert sorted(listed) == sorted(each.id for each in reference.operations())


@pytest.mark.parametrize("part", reference.PAGES, ids=lambda part: part.slug)
def test_a_page_says_how_to_call_each_endpoint(part: reference.ReferencePage, db: None) -> None:
    doc = find_page(part.slug)
    assert doc is not None
    html = text_of(Client().get(doc.url))
    for operation in reference.operations_of(part):
        assert operation.title in html
        assert f"</span> {operation.path}</code>" in html
        assert any(heading.text == operation.title for heading in rendered(doc).headings)
    assert source_of(doc).count("**Sign-in**") == len(reference.operations_of(part))


def test_titles_of_endpoints_are_for_people() -> None:
    assert not [each.id for each in reference.operations() if each.title == each.id or "_" in each.title]


def test_nested_members_have_paths() -> None:
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "array", "items": {"$ref": "#/components/schemas/Inner"}},
            "b": {"anyOf": [{"$ref": "#/components/schemas/Inner"}, {"type": "null"}]},
        },
    }
    components = {"Inner": {"type": "object", "properties": {"c": {"type": "integer", "minimum": 1}}}}
    found = [(each.path, each.required, each.kind) for each in members(schema, components)]
    assert found == [
        ("a", True, "list of objects"),
        ("a[].c", False, "integer, at least 1"),
        ("b", False, "object or null"),
        ("b.c", False, "integer, at least 1"),
    ]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "format": "date-time"}, "string, a time (RFC 3339)"),
        ({"enum": ["a", None]}, '`"a"`, `null`'),
        ({"type": "integer", "minimum": 0, "maximum": 1000}, "integer, 0 to 1,000"),
        ({"type": ["string", "null"]}, "string or null"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 200}, "list of string, at most 200"),
        ({}, "any value"),
    ],
)
def test_values_in_words(schema: dict[str, object], words: str) -> None:
    assert kind_of(schema, {}) == words
