"""JSON Schemas in words: the type and bounds of a value, and the members of an object as rows of a table."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jatevo.web.json import dump

_CHOICE = re.compile(r"^\* `.*$", re.MULTILINE)  # drf-spectacular repeats the values of an enum in words
_LONGEST_PATTERN = 80
_DEEPEST = 4

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Member:
    """A member of an object. `path` is `a.b` for a nested one and `a[].b` for one in a list."""

    path: str
    required: bool
    kind: str
    text: str


def members(schema: Schema, components: Mapping[str, Schema]) -> Iterator[Member]:
    """Every member of an object, with those of nested objects and of lists after their own."""
    yield from _members(schema, components, "", 0)


def kind_of(schema: Schema, components: Mapping[str, Schema]) -> str:
    """A value's type and bounds in a few words: `integer, 1 to 1,024, or null`."""
    schema = resolved(schema, components)
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        words = list(dict.fromkeys(kind_of(each, components) for each in choices))
        return ", or ".join(words) if any("," in each for each in words) else " or ".join(words)
    if "enum" in schema:
        return ", ".join(f"`{dump(each).decode()}`" for each in schema["enum"])
    kinds = schema.get("type", "object" if "properties" in schema else "any value")
    kind = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if kind == "array":
        items = resolved(schema.get("items", {}), components)
        each = "objects" if "properties" in items else kind_of(items, components)
        return f"list of {each}{_bounds(schema, 'Items')}"
    if kind.startswith("string"):
        return kind + _of_text(schema)
    return kind + _range(schema)


def resolved(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    """The schema that a reference leads to, with what stands beside the reference."""
    if len(schema.get("allOf", ())) == 1:
        schema = {**schema["allOf"][0], **{name: value for name, value in schema.items() if name != "allOf"}}
    if "$ref" in schema:
        found = components[schema["$ref"].rpartition("/")[2]]
        return {**found, **{name: value for name, value in schema.items() if name != "$ref"}}
    return schema


def _members(schema: Schema, components: Mapping[str, Schema], path: str, depth: int) -> Iterator[Member]:
    schema = resolved(schema, components)
    required = set(schema.get("required", ()))
    for name, said in schema.get("properties", {}).items():
        full = resolved(said, components)
        yield Member(
            f"{path}{name}", name in required, kind_of(said, components), full.get("description", "")
        )
        if depth < _DEEPEST:
            for inner, step in _inside(full, components):
                yield from _members(inner, components, f"{path}{name}{step}.", depth + 1)


def _inside(schema: Schema, components: Mapping[str, Schema]) -> Iterator[tuple[Schema, str]]:
    """The objects that a value is, may be, or lists, with how their path goes on."""
    for choice in schema.get("oneOf") or schema.get("anyOf") or [schema]:
        full = resolved(choice, components)
        if "properties" in full:
            yield full, ""
        elif "items" in full:
            items = resolved(full["items"], components)
            if "properties" in items:
                yield items, "[]"


def _of_text(schema: Schema) -> str:
    pattern, form = schema.get("pattern", ""), schema.get("format", "")
    if form == "date-time":
        return ", a time (RFC 3339)"
    if form == "date":
        return ", a date"
    if form in ("uuid", "email", "decimal", "uri"):
        return f", {form}"
    if pattern and len(pattern) <= _LONGEST_PATTERN:
        return f", `{pattern}`"
    return _bounds(schema, "Length", " characters")


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f", {least:,} to {most:,}"
    if least is not None:
        return f", at least {least:,}"
    return f", at most {most:,}" if most is not None else ""


def _bounds(schema: Schema, of: str, unit: str = "") -> str:
    least, most = schema.get(f"min{of}", 0), schema.get(f"max{of}")
    if most is None:
        return ""
    return f", {least:,} to {most:,}{unit}" if least > 1 else f", at most {most:,}{unit}"
