"""The application as a web server calls it, with headers that browsers do not send."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from django.core.signals import request_started
from django.db import close_old_connections

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("connection_is_the_tests")]


@pytest.fixture
def connection_is_the_tests() -> Iterator[None]:
    """The start of a request would close the connection of the test's transaction."""
    request_started.disconnect(close_old_connections)
    yield
    request_started.connect(close_old_connections)


def call(
    path: str, content_type: str, *, query: str = "", body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST" if body else "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environ)
    # Imported here: its middleware lists the static files, which the session's first fixture collects.
    from jatevo.wsgi import application

    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
        started.append((status, headers))
        return environ["wsgi.input"].write

    answer = application(environ, start_response)
    status, headers = started[0]
    return int(status.split()[0]), dict(headers), b"".join(answer)


UNREADABLE = [
    "application/json; charset=base64",
    "application/json; charset=utf-16",
    "application/json; charset=no-such",
    "application/json; x*=no-such''a",
    "application/json; charset*=base64''a",
]


@pytest.mark.parametrize("content_type", UNREADABLE)
def test_charset_of_a_body_is_of_no_account(content_type: str) -> None:
    body = json.dumps({"email": "somebody@example.com", "password": "wrong"}).encode()
    status, headers, text = call("/v1/auth/login", content_type, query="x=%41", body=body)
    assert status == 401, text
    assert json.loads(text)["error"]["request_id"] == headers["x-request-id"]


@pytest.mark.parametrize("content_type", UNREADABLE)
def test_query_is_read_as_utf_8_whatever_the_charset(content_type: str) -> None:
    status, _, page = call("/login/", content_type, query="next=/%C3%A9/")
    assert status == 200
    assert "/é/" in page.decode()


@pytest.mark.parametrize("content_type", UNREADABLE)
def test_refusal_of_the_api_keeps_its_shape(content_type: str) -> None:
    status, headers, text = call("/v1/nodes", content_type, query="q=%41")
    assert status == 401
    assert json.loads(text)["error"]["request_id"] == headers["x-request-id"]
