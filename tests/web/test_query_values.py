"""Query parameters are parsed strictly and refused with a reason, and never cause a crash."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.http import QueryDict
from django.test import Client
from pytest_django import Settings

from jatevo.accounts.models import Role, User
from jatevo.web.query_values import BadValue, moment, strangers, whole_number
from nodes.models import Node
from receipts.models import Receipt
from tests.accounts.browser import Browser
from tests.factories import GatewayFactory, NodeFactory, ReceiptFactory, UserFactory, ValidatorFactory
from tests.machines import SignedSender, bearer


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11-28T10:00:00Z", (2026, 11, 28, 10), (2026, 11, 28, 10)),
        ("2026-11-28t10:00:00.5z", (2026, 11, 28, 10, 0, 0, 500000), (2026, 11, 28, 10, 0, 0, 500000)),
        ("2026-11-28 10:00:00+05:30", (2026, 11, 28, 4, 30), (2026, 11, 28, 4, 30)),
        ("2026-11-28", (2026, 11, 28), (2026, 11, 29)),
        ("946684800", (2000, 1, 1), (2000, 1, 1)),
        ("4102444800", (2100, 1, 1), (2100, 1, 1)),
    ],
)
def test_times_are_read_in_three_forms(text: str, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    read = moment(text)
    assert (read.start, read.end) == (datetime(*start, tzinfo=UTC), datetime(*end, tzinfo=UTC))  # type: ignore[misc,arg-type]


def test_day_is_a_day_of_its_zone_however_long_it_is() -> None:
    changing = moment("2026-10-25", zone=ZoneInfo("Europe/Berlin"))
    assert changing.start == datetime(2026, 10, 24, 22, tzinfo=UTC)
    assert (changing.end - changing.start).total_seconds() == 25 * 3600


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "20261128", "2026-11", "2026-W48-6", "2026-11-31", "2026-11-28T10:00:00",
        "2026-11-28T10:00Z", "2026-11-28T10:00:00+24:00", "2026-11-28T10:00:60Z", "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59", "9999-12-31", "1999-12-31", "946684799", "4102444801", "-1", "1e9", "1" * 400,
        "\uff11\uff17", "2026-11-28T10:00:00Z\x00", " 2026-11-28", "NaN",
    ],
)  # fmt: skip
def test_what_is_no_time_or_lies_beyond_2000_to_2100_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="RFC 3339"):
        moment(text)


@pytest.mark.parametrize("text", ["", "0", "201", "1.0", "+5", " 5", "\uff15", "9" * 5000])
def test_numbers_are_digits_within_limits(text: str) -> None:
    with pytest.raises(BadValue, match="1 to 200"):
        whole_number(text, least=1, most=200)
    assert whole_number("200", least=1, most=200) == 200


def test_unknown_and_repeated_parameters_are_named_in_bounded_words() -> None:
    query = QueryDict(f"state=open&state=resolved&{'x' * 500}=1")
    assert [(problem.field, problem.message) for problem in strangers(query, {"state"})] == [
        ("state", "given more than once"),
        ("x" * 64, "unknown parameter"),
    ]


# What may stand where a value is expected: already percent-encoded.
HOSTILE = [
    "%00", "%ED%A0%80", "%FF%FE", "9" * 400, "-1", "1e400", "NaN", "%E2%80%AE", "0001-01-01T00:00:00%2B23:59",
    "9999-12-31T23:59:59-23:59", "99999999999", "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwxXQ", "%25", "%27%22%3B--",
    "x" * 3000, "",
]  # fmt: skip


@pytest.fixture
def admin(db: None) -> User:
    return UserFactory.create(role=Role.ADMIN)


@pytest.fixture
def node(db: None) -> Node:
    return NodeFactory.create()


@pytest.fixture
def receipt(node: Node) -> Receipt:
    return ReceiptFactory(node=node)


class Reader:
    """Reads any route of /v1 as somebody with access: a person, or the machine that it is for."""

    def __init__(self, admin: User, receipt: Receipt) -> None:
        self.client = Client(raise_request_exception=False)
        self.names = {"{node_id}": receipt.node_id, "{request_id}": receipt.request_id}
        self.bearer = bearer(admin)
        self.machines = {
            "/v1/validators/": SignedSender.validator(ValidatorFactory.create()),
            "/v1/gateways/": SignedSender.gateway(GatewayFactory.create()),
            "/v1/nodes/self": SignedSender.node(receipt.node),
        }

    def get(self, path: str, query: str) -> Any:
        for name, value in self.names.items():
            path = path.replace(name, value)
        machine = next((self.machines[start] for start in self.machines if path.startswith(start)), None)
        signed = machine.headers(b"") if machine else self.bearer
        return self.client.get(f"{path}?{query}", headers=signed)


@pytest.fixture
def reader(admin: User, receipt: Receipt) -> Reader:
    return Reader(admin, receipt)


def readable() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Every readable route of /v1, with its parameters from the OpenAPI document."""
    for path, operations in Client().get("/v1/openapi.json").json()["paths"].items():
        if "get" in operations:
            described = operations["get"].get("parameters", [])
            yield path, [parameter for parameter in described if parameter["in"] == "query"]


@pytest.mark.django_db
def test_every_read_of_the_api_refuses_parameters_that_it_does_not_know(reader: Reader) -> None:
    tried = 0
    for path, _ in readable():
        assert reader.get(path, "").status_code == 200, path
        answer = reader.get(path, "surprise=1")
        assert (answer.status_code, answer.json()["error"]["details"]) == (
            422,
            [{"field": "surprise", "message": "unknown parameter"}],
        ), path
        tried += 1
    assert tried >= 9


@pytest.mark.django_db
def test_every_parameter_that_is_documented_is_taken_once_and_with_a_value(reader: Reader) -> None:
    for path, parameters in readable():
        for parameter in parameters:
            name = parameter["name"]
            answer = reader.get(path, f"{name}=1&{name}=2")
            assert answer.status_code == 422, (path, name)
            assert answer.json()["error"]["details"] == [{"field": name, "message": "given more than once"}]
            empty = reader.get(path, f"{name}=")
            assert empty.json()["error"]["details"] == [{"field": name, "message": "has no value"}]


@pytest.mark.django_db
def test_no_value_of_a_parameter_crashes_the_api(reader: Reader, settings: Settings) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "reads": "100000/second"}
    for path, parameters in readable():
        for parameter in parameters:
            for value in HOSTILE:
                answer = reader.get(path, f"{parameter['name']}={value}")
                assert answer.status_code in (200, 400, 414, 422), (path, parameter["name"], value)


PAGE_HOSTILE = ["%00", "x", "9" * 400, "%FF", "0001-01-01T00:00:00%2B23:59", "99999999999"]
PARAMETERS = {
    "/": ["heat"],
    "/nodes/": ["q", "status", "region", "runtime", "reputation_range", "reputation_min", "mine", "sort", "columns", "column", "page"],
    "/nodes/~export.csv": ["q", "status", "sort", "columns", "reputation_range", "page"],
    "/nodes/{node_id}/": ["tab", "window", "drawer"],
    "/receipts/": ["node_id", "request_id", "model_id", "region", "hedged", "from", "to", "cursor"],
    "/run-a-node/": ["platform"],
    "/status/history/": ["page"],
    "/login/": ["next"],
}  # fmt: skip


ADMIN_PARAMETERS = {
    "/admin/": ["next"],
    "/admin/nodes/node/": ["q", "o", "p", "all", "status__exact", "id__contains", "_changelist_filters"],
    "/admin/audit/auditevent/": ["q", "verb", "at__gte", "at__year"],
}  # fmt: skip


def each_page(parameters: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    for path, names in parameters.items():
        yield path, ""
        for name in names:
            for query in (*(f"{name}={value}" for value in PAGE_HOSTILE), f"{name}=a&{name}=b"):
                yield path, query


@pytest.mark.django_db
def test_no_value_of_a_parameter_crashes_a_page(admin: User, receipt: Receipt, settings: Settings) -> None:
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "1000000/second")
    browser = Browser(raise_request_exception=False).hold_session(admin)
    for page, query in each_page(PARAMETERS):
        path = page.replace("{node_id}", receipt.node_id)
        answer = browser.get(f"{path}?{query}")
        assert answer.status_code in (200, 302, 400), (path, query)
        b"".join(answer)  # to the end of an export, whose place another one waits for


@pytest.mark.django_db(transaction=True)  # what PostgreSQL refuses would end the test's own transaction
def test_no_value_of_a_parameter_crashes_the_admin() -> None:
    admin = UserFactory.create(role=Role.ADMIN)
    browser = Browser(raise_request_exception=False).hold_session(admin)
    for path, query in each_page(ADMIN_PARAMETERS):
        assert browser.get(f"{path}?{query}").status_code in (200, 302, 400), (path, query)
