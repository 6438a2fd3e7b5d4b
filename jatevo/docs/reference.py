"""The API reference: pages of Markdown, written from the OpenAPI document that the console serves."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from jatevo.docs.examples import example_of
from jatevo.docs.markdown import anchor_of
from jatevo.docs.schemas import Member, kind_of, members, resolved
from jatevo.docs.tables import table

_ORDER = ("get", "post", "put", "patch", "delete")
_SIGN_IN = {
    "bearer": "a bearer token of a person",
    "cookie": "the login's cookies (changes need the CSRF token)",
    "node": "[signed](signing.md) by the node",
    "validator": "[signed](signing.md) by a validator",
    "gateway": "[signed](signing.md) by a gateway",
    "enrolment": "`Authorization: Bearer jve_…`, the token of an enrolment",
}


@dataclass(frozen=True)
class ReferencePage:
    """A page of the reference: the endpoints whose paths begin with one of `roots` (`/v1/<root>`)."""

    slug: str
    title: str
    lead: str
    roots: tuple[str, ...]


PAGES = (
    ReferencePage(
        "api/sign-in", "Sign-in", "Tokens for people and scripts, and who you are.", ("auth", "users")
    ),
    ReferencePage(
        "api/enrolments", "Enrolments", "Permission to add a node, given by a person.", ("enrollments",)
    ),
    ReferencePage(
        "api/nodes", "Nodes", "What agents send about their node, and what people read of nodes.", ("nodes",)
    ),
    ReferencePage(
        "api/receipts", "Receipts", "Posting, searching and downloading signed receipts.", ("receipts",)
    ),
    ReferencePage(
        "api/dispatches",
        "Gateways",
        "What gateways report about the requests that they send to nodes, and what they may read.",
        ("dispatches", "gateways"),
    ),
    ReferencePage(
        "api/probes",
        "Validators",
        "Which nodes are due for a probe, and what was measured.",
        ("validators", "probes"),
    ),
    ReferencePage("api/earnings", "Earnings", "What nodes have earned, and why not more.", ("earnings",)),
    ReferencePage("api/network", "Network", "Figures and incidents of the whole network.", ()),  # the rest
)


@dataclass(frozen=True)
class Operation:
    """An endpoint: one method on one path, with its part of the OpenAPI document."""

    method: str
    path: str
    said: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.said["operationId"])

    @property
    def title(self) -> str:
        example = example_of(self.id)
        return str(self.said.get("summary") or (example.title if example else self.id))


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document, generated once: it follows from the code alone."""
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found


def operations() -> list[Operation]:
    """All endpoints of the API."""
    return [
        Operation(method.upper(), path, by_method[method])
        for path, by_method in document()["paths"].items()
        for method in _ORDER
        if method in by_method
    ]


def operations_of(page: ReferencePage) -> list[Operation]:
    """The endpoints that the page describes, in the order of their paths."""
    named = {root for each in PAGES for root in each.roots}
    roots = {each.path.split("/")[2] for each in operations()} - named if not page.roots else set(page.roots)
    return [each for each in operations() if each.path.split("/")[2] in roots]


@cache
def written(page: ReferencePage) -> str:
    """The page as Markdown, written once: like the document, it follows from the code alone."""
    found = operations_of(page)
    overview = table(("Does", "Endpoint"), ((_link(each), f"`{each.method} {each.path}`") for each in found))
    parts = [f"# {page.title}", page.lead, overview, *(_section(each) for each in found)]
    return "\n\n".join(parts) + "\n"


def _link(operation: Operation) -> str:
    return f"[{operation.title}](#{anchor_of(operation.title)})"


def _section(operation: Operation) -> str:
    return "\n\n".join(part for part in _parts(operation) if part)


def _parts(operation: Operation) -> Iterator[str]:
    components = document()["components"]["schemas"]
    example = example_of(operation.id)
    yield f"## {operation.title}"
    yield f"`{operation.method} {operation.path}`"
    yield str(operation.said.get("description", ""))
    yield f"**Sign-in**: {_sign_in(operation)}."
    if parameters := operation.said.get("parameters"):
        yield "**Parameters**"
        yield table(
            ("Name", "In", "Value", "Meaning"),
            (
                (
                    f"`{each['name']}`{' (required)' if each.get('required') else ''}",
                    each["in"],
                    kind_of(each["schema"], components),
                    _cell(each.get("description", "")),
                )
                for each in parameters
            ),
        )
    if body := operation.said.get("requestBody"):
        yield "**Body**"
        yield from _bodies(body["content"], components)
    for status, answer in operation.said["responses"].items():
        if status != "default":
            yield f"**Answer {status}**{_note(answer)}"
            yield from _bodies(answer.get("content", {}), components)
    yield "Errors are in [the common shape](index.md#errors)."
    if example:
        yield "**Example**"
        yield example.words
        yield f"```sh\n{example.command}```"
        if example.answer:
            yield f"```json Answer\n{example.answer}\n```"


def _sign_in(operation: Operation) -> str:
    ways = [next(iter(each), "") for each in operation.said.get("security") or [{}]]
    words = [_SIGN_IN[way] if way else "none" for way in ways]
    return ", or ".join(words)


def _note(answer: Mapping[str, Any]) -> str:
    return f": {answer['description']}" if answer.get("description") else ""


def _bodies(content: Mapping[str, Any], components: Mapping[str, Any]) -> Iterator[str]:
    for said in content.values():
        schema = resolved(said["schema"], components)
        choices = schema.get("anyOf") or schema.get("oneOf") or [schema]
        for number, choice in enumerate(choices):
            if number:
                yield "or"
            yield _fields(members(choice, components))


def _fields(found: Iterable[Member]) -> str:
    rows = [(f"`{each.path}`{' *' if each.required else ''}", each.kind, _cell(each.text)) for each in found]
    return table(("Member (* always there)", "Value", "Meaning"), rows) if rows else "An object."


def _cell(text: str) -> str:
    return " ".join(text.split())
