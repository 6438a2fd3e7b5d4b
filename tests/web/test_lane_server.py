"""The lane over a bare socket, on uvicorn as `python -m jatevo.lane` starts it."""

import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import orjson
import pytest

from jatevo.lane.http import MOST_BYTES_AROUND
from jatevo.web.front_door import MAX_ADDRESS_BYTES
from jatevo.web.throttling import client
from nodes.rules.lifecycle import Status
from receipts.models import Receipt
from tests.factories import NodeFactory, signed_receipt
from tests.lane import beat
from tests.machines import SignedSender
from tests.web.serving import ServerUnderTest, forget_fresh_connections, serving
from tests.web.wire import RawConnection, request

# more than sockets buffer, so that a server that does not read it all cuts its sender off
LARGE = b" " * (6 * 1024 * 1024)


@pytest.fixture(scope="module")
def port(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, static_files: None
) -> Iterator[int]:
    with serving(ServerUnderTest.LANE, tmp_path_factory.mktemp("lane")) as found:
        yield found


@pytest.mark.django_db(transaction=True)
class TestOnItsServer:
    """Over a bare socket, to uvicorn."""

    @pytest.fixture
    def line(self, port: int) -> Iterator[RawConnection]:
        deadline = time.monotonic() + 30
        while httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=10).status_code != 200:
            assert time.monotonic() < deadline, "the server does not find its database again"
        with RawConnection(port) as opened:
            yield opened

    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    def test_machines_post_with_a_length_and_in_chunks(self, line: RawConnection, chunked: bool) -> None:
        forget_fresh_connections()
        node = NodeFactory.create(status=Status.ACTIVE)
        machine = SignedSender.node(node)
        for path, body in (
            ("/v1/receipts", {"receipts": [signed_receipt(node.pk) for _ in range(30)]}),
            ("/v1/nodes/heartbeat", beat(node)),
        ):
            raw = orjson.dumps(body)
            headers = [f"{name}: {value}" for name, value in machine.headers(raw).items()]
            whole = request("POST", path, raw, *headers, "x-request-id: mine", chunked=chunked)
            answer = line.send(whole).answer("POST")
            assert answer.status == 200, answer.body
            assert answer.headers["x-request-id"] == "mine"
        assert Receipt.objects.count() == 30
        node.refresh_from_db()
        assert node.last_heartbeat_at is not None

    @pytest.mark.parametrize(
        ("words", "status", "kind"),
        [
            (("GET", "/v1/nodes/heartbeat", None), 405, "method_not_allowed"),
            (("GET", "/v1/nodes", None), 404, "not_found"),
            (("POST", "/v1/nodes/heartbeat", b" " * (256 * 1024 + 1)), 413, "too_large"),
            (("POST", "/v1/receipts", b" " * (2 * 1024 * 1024 + 1)), 413, "too_large"),
            (("POST", "/v1/receipts", LARGE), 413, "too_large"),
            (("PUT", "/v1/receipts", LARGE), 405, "method_not_allowed"),
            (("POST", "/v1/nodes", LARGE), 404, "not_found"),
            (("POST", "/v1/nodes/heartbeat?" + "x" * MAX_ADDRESS_BYTES, LARGE), 414, "too_large"),
            (("POST", "/v1/nodes/heartbeat", b"{}"), 401, "unauthenticated"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    def test_refusals_have_the_shape(
        self, line: RawConnection, words: tuple[str, str, bytes | None], status: int, kind: str, chunked: bool
    ) -> None:
        method, path, body = words
        line.send(request(method, path, body, chunked=chunked and body is not None))
        answer = line.answer(method)
        assert (answer.status, answer.json()["error"]["type"]) == (status, kind)
        assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"

    def test_client_that_asks_first_need_not_send_its_body(self, line: RawConnection) -> None:
        whole = request("POST", "/v1/receipts", LARGE, "Expect: 100-continue")
        head, _, _ = whole.partition(LARGE)
        answer = line.send(head).answer("POST")
        assert (answer.status, answer.json()["error"]["type"]) == (413, "too_large")

    @pytest.mark.parametrize("ends_its_lines", [True, False], ids=["headers", "one header"])
    def test_endless_head_is_refused(self, line: RawConnection, ends_its_lines: bool) -> None:
        filler = (b"x: " + b"y" * 1000 + b"\r\n") if ends_its_lines else b"y" * 1000
        line.send(b"POST /v1/receipts HTTP/1.1\r\nHost: localhost\r\nx-filler: ")
        with suppress(OSError):  # hung up on
            for _ in range(4 * MOST_BYTES_AROUND // len(filler)):
                line.send(filler)
        assert line.answer("POST").status == 400

    def test_trailers_are_no_headers(self, line: RawConnection) -> None:
        chunked = request("POST", "/v1/receipts", b"{}", chunked=True)
        answer = line.send(chunked.removesuffix(b"\r\n"), b"x-request-id: of-a-trailer\r\n\r\n").answer(
            "POST"
        )
        assert answer.status == 401
        assert "of-a-trailer" not in answer.headers["x-request-id"]

    def test_endless_trailers_are_refused(self, line: RawConnection) -> None:
        line.send(request("POST", "/v1/receipts", b"{}", chunked=True).removesuffix(b"\r\n"))
        filler = b"x: " + b"y" * 1000 + b"\r\n"
        with suppress(OSError):  # hung up on
            for _ in range(4 * MOST_BYTES_AROUND // len(filler)):
                line.send(filler)
        assert line.answer("POST").status == 400

    def test_body_before_the_next_request_is_not_counted_as_its_head(self, line: RawConnection) -> None:
        large = request("POST", "/v1/nodes/heartbeat", b"{" + b" " * (MOST_BYTES_AROUND * 3 // 2) + b"}")
        following = request("GET", "/healthz", None)
        assert line.send(large, following[:10]).answer("POST").status == 401
        assert line.send(following[10:]).answer("GET").status == 200

    def test_large_head_within_the_limit_is_read(self, line: RawConnection) -> None:
        filler = [f"x-{number}: {'y' * 1000}" for number in range(60)]
        answer = line.send(request("POST", "/v1/nodes/heartbeat", b"{}", *filler)).answer("POST")
        assert answer.status == 401

    def test_address_that_a_client_claims_is_not_believed(self, line: RawConnection) -> None:
        claimed = "X-Forwarded-For: 203.0.113.7"
        assert line.send(request("POST", "/v1/receipts", b"{}", claimed)).answer("POST").status == 401
        assert client().keys("*127.0.0.1*"), "addresses are counted"
        assert not client().keys("*203.0.113*")

    def test_liveness_and_readiness(self, line: RawConnection) -> None:
        assert line.send(request("GET", "/healthz", None)).answer("GET").json()["status"] == "ok"
        assert line.send(request("HEAD", "/healthz", None)).answer("HEAD").body == b""
        assert "postgresql" in line.send(request("GET", "/readyz", None)).answer("GET").json()["stores"]

    def test_body_that_is_cut_short_is_taken_for_nothing(self, port: int, line: RawConnection) -> None:
        node = NodeFactory.create(status=Status.ACTIVE)
        raw = orjson.dumps(beat(node))
        headers = [f"{name}: {value}" for name, value in SignedSender.node(node).headers(raw).items()]
        whole = request("POST", "/v1/nodes/heartbeat", raw, *headers)
        try:
            answer = line.send(whole[:-10]).end().answer("POST")
        except OSError:
            answer = None  # hung up on: just as good
        assert answer is None or answer.status in (400, 401)
        node.refresh_from_db()
        assert node.last_heartbeat_at is None
