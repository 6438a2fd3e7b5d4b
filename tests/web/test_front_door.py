"""The front door: the same requests to the server of `make run` and to that of a deployment.

Requests that a server refuses before they reach the application are marked as such. granian's refusals of
invalid HTTP have no body and no x-request-id, which the console cannot change.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from jatevo.web.front_door import MAX_ADDRESS_BYTES
from nodes.models import Enrollment, Node
from nodes.rules.lifecycle import Status
from tests.accounts.people import PASSWORD
from tests.factories import NodeFactory, UserFactory, signed_receipt
from tests.machines import SignedSender, bearer
from tests.web.serving import ServerUnderTest, forget_fresh_connections, serving
from tests.web.wire import RawAnswer, RawConnection, in_chunks, request

pytestmark = pytest.mark.django_db(transaction=True)

KIB = 1024
FOUND_SECONDS = 30.0
STRANGER = json.dumps({"email": "nobody@example.org", "password": "wrong"}).encode()
FRAMINGS = pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])


@pytest.fixture(scope="module", params=[ServerUnderTest.WAITRESS, ServerUnderTest.GRANIAN])
def server(request: pytest.FixtureRequest) -> ServerUnderTest:
    return ServerUnderTest(request.param)


@pytest.fixture(scope="module")
def port(
    server: ServerUnderTest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    static_files: None,
) -> Iterator[int]:
    with serving(server, tmp_path_factory.mktemp(server)) as found:
        yield found


@pytest.fixture(autouse=True)
def database_found_again(port: int, transactional_db: None) -> None:
    """The database is created again after each test, and the server needs a moment to find the new one."""
    deadline = time.monotonic() + FOUND_SECONDS
    for path in ("/readyz", "/status/"):  # the second with the connections that pages use
        while httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=10).status_code != 200:
            assert time.monotonic() < deadline, "the server does not find its database again"


@pytest.fixture
def line(port: int) -> Iterator[RawConnection]:
    with RawConnection(port) as opened:
        yield opened


def headers_of(machine: SignedSender, body: bytes) -> list[str]:
    return [f"{name}: {value}" for name, value in machine.headers(body).items()]


def error_of(answer: RawAnswer, status: int, kind: str) -> dict[str, Any]:
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    assert error["type"] == kind
    assert error["request_id"] == answer.headers["x-request-id"]
    return error


def still_in_step(line: RawConnection) -> None:
    """The next answer on the connection belongs to the next request, from its first byte."""
    line.send(request("GET", "/v1/nope", None, "x-request-id: still-in-step"))
    assert line.answer().headers["x-request-id"] == "still-in-step"


@FRAMINGS
def test_login_means_the_same_with_a_length_and_in_chunks(line: RawConnection, chunked: bool) -> None:
    person = UserFactory.create()
    body = json.dumps({"email": person.email, "password": PASSWORD}).encode()
    line.send(request("POST", "/v1/auth/login", body, chunked=chunked))
    answer = line.answer("POST")
    assert answer.status == 200, answer.body
    assert answer.json()["access"]
    still_in_step(line)


@FRAMINGS
def test_machines_post_with_a_length_and_in_chunks(line: RawConnection, chunked: bool) -> None:
    forget_fresh_connections()
    node = NodeFactory.create(status=Status.ACTIVE)
    machine = SignedSender.node(node)
    receipts = json.dumps({"receipts": [signed_receipt(node.pk) for _ in range(30)]}).encode()
    line.send(request("POST", "/v1/receipts", receipts, *headers_of(machine, receipts), chunked=chunked))
    answer = line.answer("POST")
    assert answer.status == 200, answer.body
    assert [each["status"] for each in answer.json()["results"]] == [201] * 30
    beat = json.dumps({"node_id": node.pk, "ts": 1, "metrics": {"uptime": 1, "gpu_util": 0.5}}).encode()
    line.send(request("POST", "/v1/nodes/heartbeat", beat, *headers_of(machine, beat), chunked=chunked))
    assert line.answer("POST").status == 200
    assert Node.objects.get(pk=node.pk).last_heartbeat_at is not None
    still_in_step(line)


@FRAMINGS
def test_enrolment_is_for_the_node_that_the_body_names(line: RawConnection, chunked: bool) -> None:
    operator = UserFactory.create()
    (authorization,) = (f"{name}: {value}" for name, value in bearer(operator).items())
    line.send(
        request("POST", "/v1/enrollments", b'{"node_id": "macbook-001"}', authorization, chunked=chunked)
    )
    assert line.answer("POST").json()["node_id"] == "macbook-001"
    assert Enrollment.objects.get().node_id == "macbook-001"


def test_an_empty_chunked_body_is_refused_since_it_may_have_been_cut_off(line: RawConnection) -> None:
    (authorization,) = (f"{name}: {value}" for name, value in bearer(UserFactory.create()).items())
    line.send(request("POST", "/v1/enrollments", b"", authorization, chunked=True))
    error_of(line.answer("POST"), 400, "invalid_json")
    assert not Enrollment.objects.exists()


@FRAMINGS
@pytest.mark.parametrize(
    ("path", "limit"), [("/v1/auth/login", 256 * KIB), ("/v1/receipts", 2048 * KIB)], ids=["body", "batch"]
)
def test_limits_of_bodies_are_the_same(port: int, path: str, limit: int, chunked: bool) -> None:
    for size, refused in ((limit, False), (limit + 1, True), (limit * 2, True)):
        with RawConnection(port) as line:
            body = json.dumps({"filling": "x" * (size - 15)}).encode()
            assert len(body) == size
            line.send(request("POST", path, body, chunked=chunked))
            answer = line.answer("POST")
            assert (answer.status == 413) == refused, (size, answer.body[:300])
            if refused:
                error_of(answer, 413, "too_large")


@FRAMINGS
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/receipts", 413), ("PUT", "/v1/receipts", 405), ("POST", "/v1/nope", 404),
        ("POST", "/v1/receipts?" + "x" * MAX_ADDRESS_BYTES, 414),
    ],
)  # fmt: skip
def test_whoever_sends_a_large_body_in_vain_hears_why(
    port: int, method: str, path: str, status: int, chunked: bool
) -> None:
    with RawConnection(port) as line:
        line.send(request(method, path, b" " * (6 * 1024 * KIB), chunked=chunked))
        assert line.answer(method).status == status


@FRAMINGS
def test_form_of_a_page_may_come_in_chunks_and_is_limited(port: int, chunked: bool) -> None:
    with RawConnection(port) as line:
        line.send(request("POST", "/login/", b"x" * (3 * 1024 * KIB), chunked=chunked))
        answer = line.answer("POST")
        assert answer.status == 413
        assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/summary", 200), ("/v1/nope", 404), ("/v1/nodes", 401), ("/", 200), ("/login/", 200),
        ("/nowhere/", 404), ("/nodes/~export.csv", 200), ("/static/favicon.svg", 200), ("/receipts/", 302),
    ],
)  # fmt: skip
def test_head_answers_like_get_without_a_body(port: int, line: RawConnection, path: str, status: int) -> None:
    with RawConnection(port) as another:  # an answer without a length ends its connection
        with_body = another.send(request("GET", path)).answer()
    assert with_body.status == status
    # pipelined: whatever HEAD's answer had behind its headers would be read as the next answer
    line.send(request("HEAD", path), request("GET", "/v1/nope", None, "x-request-id: next"))
    answer = line.answer("HEAD")
    assert (answer.status, answer.headers["Content-Type"]) == (status, with_body.headers["Content-Type"])
    assert answer.headers["x-request-id"]
    if path != "/nodes/~export.csv":
        assert answer.headers["Content-Length"] is not None
        assert line.answer().headers["x-request-id"] == "next"
    elif answer.headers.get("Connection") == "close":
        assert line.line() == b"", "nothing follows the headers"


def test_connection_stays_open_over_answers_of_all_kinds(line: RawConnection) -> None:
    for path, status in (("/v1/nope", 404), ("/nowhere/", 404), ("/v1/nodes", 401), ("/login/", 200)):
        answer = line.send(request("GET", path)).answer()
        assert (answer.status, answer.headers.get("Connection")) == (status, None)
        assert answer.headers["x-request-id"]


def test_pipelined_requests_are_answered_in_their_order(line: RawConnection) -> None:
    line.send(
        request("POST", "/v1/auth/login", STRANGER, "x-request-id: first"),
        request("POST", "/v1/auth/login", STRANGER, "x-request-id: second", chunked=True),
        request("GET", "/v1/nodes", None, "x-request-id: third"),
    )
    answers = [line.answer("POST"), line.answer("POST"), line.answer()]
    assert [(each.status, each.headers["x-request-id"]) for each in answers] == [
        (401, "first"), (401, "second"), (401, "third")
    ]  # fmt: skip


@FRAMINGS
def test_body_is_asked_for_where_it_is_expected_to_be(line: RawConnection, chunked: bool) -> None:
    whole = request("POST", "/v1/auth/login", STRANGER, "Expect: 100-continue", chunked=chunked)
    head, _, body = whole.partition(b"\r\n\r\n")
    line.send(head, b"\r\n\r\n")
    assert line.line() == b"HTTP/1.1 100 Continue"
    assert line.line() == b""
    line.send(body)
    error_of(line.answer("POST"), 401, "unauthenticated")
    still_in_step(line)


JSON = "Content-Type: application/json"
ENDLESS = {
    "coding": request("POST", "/v1/auth/login", None, JSON, "Transfer-Encoding: gzip") + STRANGER,
    "two codings": request("POST", "/v1/auth/login", None, JSON, "Transfer-Encoding: gzip, chunked")
    + in_chunks(STRANGER),
    "old and chunked": request("POST", "/v1/auth/login", STRANGER, chunked=True, version="1.0"),
    "old without a length": request("POST", "/v1/auth/login", None, JSON, version="1.0") + STRANGER,
    "two lengths": request("POST", "/v1/auth/login", STRANGER, "Content-Length: 5"),
    "length of letters": request("POST", "/v1/auth/login", None, JSON, "Content-Length: many") + STRANGER,
    "negative length": request("POST", "/v1/auth/login", None, JSON, "Content-Length: -1") + STRANGER,
    "chunk of letters": request("POST", "/v1/auth/login", None, JSON, "Transfer-Encoding: chunked")
    + b"zz\r\n{}\r\n",
    "chunk of another length": request("POST", "/v1/auth/login", None, JSON, "Transfer-Encoding: chunked")
    + b"3\r\n"
    + STRANGER
    + b"\r\n0\r\n\r\n",
}
BY_GRANIAN_ITSELF = {"coding", "old and chunked", "two lengths", "length of letters", "negative length"}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_body_without_a_clear_end_is_refused(
    server: ServerUnderTest, line: RawConnection, name: str
) -> None:
    answer = line.send(ENDLESS[name]).answer("POST")
    assert answer.status in (400, 411)
    if server is ServerUnderTest.GRANIAN and name in BY_GRANIAN_ITSELF:
        assert (answer.body, answer.headers["Connection"]) == (b"", "close")
    elif name == "old without a length":
        error_of(answer, 411, "length_required")
    else:
        assert answer.json()["error"]["type"] in ("invalid_json", "invalid_request")
        assert answer.headers["x-request-id"]


@FRAMINGS
def test_body_that_is_cut_short_is_never_taken_for_a_whole_one(line: RawConnection, chunked: bool) -> None:
    padded = STRANGER[:-1] + b" " * 500 + b"}"
    whole = request("POST", "/v1/auth/login", padded, chunked=chunked)
    try:
        answer = line.send(whole[:-400]).end().answer("POST")
    except OSError:
        return  # hung up on: just as good
    assert answer.status == 400, answer.body


def test_spaces_that_are_cut_off_a_body_with_a_length_are_missed_too(line: RawConnection) -> None:
    whole = request("POST", "/v1/auth/login", STRANGER + b" " * 500)
    try:
        answer = line.send(whole[:-400]).end().answer("POST")
    except OSError:
        return
    error_of(answer, 400, "invalid_json")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1, evil.example", "", "a" * 5000])
def test_foreign_host_is_refused_in_the_right_shape(line: RawConnection, host: str) -> None:
    api = line.send(request("GET", "/v1/summary", host=f"Host: {host}")).answer()
    error_of(api, 400, "invalid_request")
    page = line.send(request("GET", "/login/", host=f"Host: {host}")).answer()
    assert (page.status, page.headers["Content-Type"]) == (400, "text/html; charset=utf-8")
    assert page.headers["x-request-id"].encode() in page.body
    still_in_step(line)


def test_long_address_is_a_414_in_the_right_shape(line: RawConnection) -> None:
    query = "a" * (MAX_ADDRESS_BYTES + 1)
    error_of(line.send(request("GET", f"/v1/summary?{query}")).answer(), 414, "too_large")
    page = line.send(request("GET", f"/nodes/?q={query}")).answer()
    assert (page.status, page.headers["Content-Type"]) == (414, "text/html; charset=utf-8")
    assert line.send(request("GET", "/v1/summary?" + "a" * 8000)).answer().status == 422
    still_in_step(line)


def test_headers_beyond_measure_are_refused(server: ServerUnderTest, line: RawConnection) -> None:
    answer = line.send(request("GET", "/v1/summary", None, "x-filling: " + "x" * 600_000)).answer()
    assert answer.status == 431
    if server is ServerUnderTest.WAITRESS:
        error_of(answer, 431, "too_large")


def test_what_is_no_http_is_a_400(line: RawConnection) -> None:
    assert line.send(b"NONSENSE\r\n\r\n").answer().status == 400


def test_unknown_method_and_trace_are_405_and_never_echo(line: RawConnection) -> None:
    for method in ("BREW", "TRACE", "PROPFIND"):
        answer = line.send(request(method, "/v1/summary", None, "x-secret: told-to-nobody")).answer(method)
        error_of(answer, 405, "method_not_allowed")
        assert b"told-to-nobody" not in answer.body
