"""Log lines are JSON with the ids of the request and its trace, and have no secret, wherever it was logged."""

import base64
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from django.conf import settings as configured
from django.test import Client
from pytest_django.fixtures import Settings

from jatevo.telemetry import tracing
from jatevo.telemetry.tracing import Kind
from jatevo.web import redaction
from jatevo.web.request_id import use
from nodes.rules.credentials import derive_secret
from tests.machines import SignedSender

CANARY = "C4n4ryC4n4ryC4n4ry"
SECRETS = {
    "enrolment token": f"jve_{CANARY}xxxxxxxxxxxxx",
    "install code": f"jvi_{CANARY}xx",
    "node token": f"whsec_{CANARY}xxxxxxxxxxxxxxxxxxxxxx=",
    "JWT": f"eyJhbGciOiJIUzI1NiJ9.{CANARY}.{CANARY}",
    "bearer": f"Authorization: Bearer {CANARY}",
    "basic": f"Basic {CANARY}==",
    "cookie": f"Cookie: jatevo_access=eyJ{CANARY}; sessionid={CANARY}",
    "signature": f"v1,{CANARY}{'x' * 25}=",
    "address of a store": f"postgres://jatevo:{CANARY}@db:5432/jatevo",
    "password in a DSN": f"host=db user=jatevo password={CANARY} dbname=jatevo",
    "password in JSON": json.dumps({"email": "a@example.org", "password": CANARY}),
    "secret in a repr": repr({"secret": CANARY, "other": 1}),
    "token in a query": f"GET /x?token={CANARY}&page=2",
    "link of a forgotten password": f"/reset-password/MQ/{CANARY}/",
}
NAMES = (
    "password",
    "new_password",
    "Authorization",
    "webhook-signature",
    "hmac_secret",
    "node_token",
    "api_key",
    "Cookie",
)

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What the console writes to its log."""
    (handler,) = [each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler]
    written = io.StringIO()
    before = handler.setStream(written)

    def read() -> list[dict[str, Any]]:
        assert CANARY not in written.getvalue(), written.getvalue()
        return [json.loads(line) for line in written.getvalue().splitlines()]

    yield read
    assert before is not None
    handler.setStream(before)


def in_event(secret: str) -> None:
    structlog.get_logger("jatevo.test").error(f"it said {secret}")


def in_value(secret: str) -> None:
    structlog.get_logger("jatevo.test").warning("it said", error=secret)


def deep_in_values(secret: str) -> None:
    structlog.get_logger("jatevo.test").info(
        "it said", found={"list": [{"text": secret}, (secret,)], secret: 1}
    )


def in_arguments(secret: str) -> None:
    logging.getLogger("somebody.else").error("it said %s and %r", secret, {"x": secret})


def in_extra(secret: str) -> None:
    logging.getLogger("procrastinate").error("job failed", extra={"job": {"task_kwargs": {"x": secret}}})


def in_exception(secret: str) -> None:
    try:
        try:
            raise ValueError(secret)
        except ValueError as error:
            raise RuntimeError(f"because of {secret}") from error
    except RuntimeError:
        logging.getLogger("jatevo").exception("it failed")
        structlog.get_logger("jatevo.test").exception("it failed")


def in_object(secret: str) -> None:
    class Thing:
        def __repr__(self) -> str:
            return f"<Thing {secret}>"

    structlog.get_logger("jatevo.test").info("it said", thing=Thing(), things=[Thing()])


def in_context(secret: str) -> None:
    with structlog.contextvars.bound_contextvars(said=secret):
        logging.getLogger("jatevo").error("it said")


def in_warning(secret: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        try:
            warnings.warn(secret, UserWarning, stacklevel=1)
        finally:
            logging.captureWarnings(False)


WAYS = (
    in_event,
    in_value,
    deep_in_values,
    in_arguments,
    in_extra,
    in_exception,
    in_object,
    in_context,
    in_warning,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_secret_is_logged_by_its_shape(way: Callable[[str], None], lines: Lines) -> None:
    for secret in SECRETS.values():
        way(secret)
    assert len(lines()) >= len(SECRETS)


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_logged_by_its_name(name: str, lines: Lines) -> None:
    log = structlog.get_logger("jatevo.test")
    log.info("sent", **{name: CANARY})
    log.info("sent", headers={name: CANARY, "Accept": "text/html"}, raw={name: CANARY.encode()})
    log.info("sent", headers=[{"nested": {name: CANARY}}])
    assert lines()[1]["headers"] == {name: redaction.HIDDEN, "Accept": "text/html"}


def test_own_keys_and_passwords_are_not_logged_as_they_are(lines: Lines, settings: Settings) -> None:
    settings.SECRET_KEY = f"key {CANARY}"
    settings.METRICS_TOKEN = CANARY
    settings.EMAIL_URL = "smtp://console:pass%21word%21@mail:25"
    redaction.own_secrets.cache_clear()
    try:
        log = logging.getLogger("jatevo")
        log.error("%s, %s, pass!word!, %s", settings.SECRET_KEY, CANARY, configured.MASTER_KEY_TEXT)
        (line,) = lines()
        assert line["event"] == "…, …, …, …"
    finally:
        redaction.own_secrets.cache_clear()


def test_what_is_no_secret_stays(lines: Lines) -> None:
    said = {
        "node_id": "macbook-001",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "token_version": 3,
        "tokens_input": 128,
        "token": 7,
        "error": "the token has ended; password: none",
        "url": "https://console.example.org/nodes/?status=active",
        "request": "GET /v1/nodes/heartbeat",
    }
    structlog.get_logger("jatevo.test").info("heard", **said)
    (line,) = lines()
    assert {name: line[name] for name in said} == said


@pytest.mark.django_db
def test_requests_that_fail_log_nothing_that_they_were_sent(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jatevo.overview.views.snapshot", lambda **_: 1 / 0)
    monkeypatch.setattr("nodes.ingress.heartbeats.network_of", lambda _: 1 / 0)
    headers = {
        "Authorization": f"Bearer {SECRETS['JWT']}",
        "Cookie": f"jatevo_access={SECRETS['JWT']}; jatevo_refresh={SECRETS['JWT']}; csrftoken={CANARY}",
        "webhook-signature": SECRETS["signature"],
    }
    client = Client(raise_request_exception=False, headers=headers)
    assert client.get("/").status_code == 500
    client.get(f"/reset-password/MQ/{CANARY}/")
    client.get(f"/install/{SECRETS['install code']}.sh")
    client.get(f"/nothing/?token={CANARY}")
    client.get("/", headers={"Host": f"{SECRETS['enrolment token']}.example"})
    client.post("/login/", {"email": "a@example.org", "password": CANARY})
    client.post("/v1/nodes/register", {"a": CANARY}, content_type="application/json")
    client.post(
        "/v1/auth/login", {"email": "a@example.org", "password": CANARY}, content_type="application/json"
    )
    written = lines()
    assert any(line["event"].startswith("Internal Server Error") for line in written)
    assert all(line["request_id"] for line in written)


def test_hmac_secret_of_a_node_is_not_logged(lines: Lines) -> None:
    secret = derive_secret(configured.MASTER_KEY, "node", "macbook-001", 1)
    token = "whsec_" + base64.b64encode(secret).decode()
    machine = SignedSender("X-Node-Id", "macbook-001", secret)
    log = logging.getLogger("jatevo")
    log.error("token %s", token)
    log.error("headers %r", machine.headers(b"{}"), extra={"sent": machine.headers(b"{}"), "secret": secret})
    lines()
    assert token[6:30] not in str(lines())
    assert "v1,…" in lines()[1]["event"]


def test_lines_of_a_recorded_request_have_its_trace(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorded:
        ratio, most_per_second = 1.0, 100

        def __init__(self) -> None:
            self.number = 0

        def start(self, name: str, kind: Kind, *_: Any) -> Any:
            self.number += 1
            return FakeSpan(f"{self.number:032x}")

        def flush(self) -> None: ...

    class FakeSpan(tracing.Span):
        def __init__(self, trace_id: str) -> None:
            self._id = trace_id

        @property
        def trace_id(self) -> str:
            return self._id

        def link(self, other: tracing.Span) -> None: ...

        def end(self) -> None: ...

    tracing.send_to(Recorded())
    try:
        log = structlog.get_logger("jatevo.test")
        first, second = tracing.begin("request"), tracing.begin("request")
        assert first is not None and second is not None
        with tracing.within(first):
            log.info("alone")
        with tracing.together("answer", {"r-1": first, "r-2": second}, {}):
            for request_id in ("r-1", "r-2"):
                with structlog.contextvars.bound_contextvars():
                    use(request_id)
                    log.info("together")
        structlog.contextvars.clear_contextvars()
        log.info("outside")
    finally:
        tracing.send_to(None)
    assert [line.get("trace_id", "")[-1:] for line in lines()] == ["1", "1", "2", ""]
