"""A cap on expensive work: some calls run, a few wait, and the rest are refused at once."""

import threading
from collections.abc import Iterator

import pytest

from jatevo.web.capped_work import EXPORTS, Cap
from jatevo.web.errors import ApiError
from tests.accounts.browser import Browser


def cap(*, at_once: int = 1, waiting: int = 0, wait_seconds: float = 0.05) -> Cap:
    return Cap("Testing", at_once=at_once, waiting=waiting, wait_seconds=wait_seconds)


def is_refused(of: Cap) -> bool:
    try:
        with of.held():
            return False
    except ApiError as error:
        assert (error.status, error.type) == (503, "unavailable")
        assert int(error.headers["Retry-After"]) >= 1
        return True


def test_no_more_than_the_cap_run_at_once() -> None:
    of = cap(at_once=2)
    with of.held(), of.held():
        assert is_refused(of)
    assert not is_refused(of)


def test_place_is_given_back_when_the_work_fails() -> None:
    of = cap()
    with pytest.raises(ZeroDivisionError), of.held():
        raise ZeroDivisionError
    assert not is_refused(of)


def test_who_waits_gets_the_place_that_becomes_free() -> None:
    of, outcome = cap(waiting=1, wait_seconds=30), []
    waiting = threading.Thread(target=lambda: outcome.append(is_refused(of)))
    with of.held():
        waiting.start()
    waiting.join(timeout=20)
    assert outcome == [False]


def test_wait_is_bounded_and_its_place_is_free_afterwards() -> None:
    of = cap(waiting=1, wait_seconds=0.01)
    with of.held():
        assert is_refused(of)
        assert is_refused(of)
    assert not is_refused(of)


def test_streamed_answer_holds_its_place_until_the_last_part() -> None:
    of = cap()
    parts = of.held_through(iter(["a", "b"]))
    assert next(parts) == "a" and is_refused(of)
    assert list(parts) == ["b"]
    assert not is_refused(of)


def test_streamed_answer_that_never_began_gives_its_place_back() -> None:
    of = cap()
    parts = of.held_through(iter(["a"]))
    assert is_refused(of)
    parts.close()  # type: ignore[attr-defined]  # what a server calls when the client has gone
    assert not is_refused(of)
    del parts
    assert not is_refused(of)


def test_streamed_answer_that_fails_gives_its_place_back() -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise ZeroDivisionError

    of = cap()
    parts = of.held_through(broken())
    assert next(parts) == "a"
    with pytest.raises(ZeroDivisionError):
        next(parts)
    assert not is_refused(of)


def test_page_of_a_crowd_says_when_to_come_back(db: None) -> None:
    running = [EXPORTS.held_through(iter(["x"])) for _ in range(2)]
    EXPORTS._wait_seconds, before = 0.01, EXPORTS._wait_seconds
    try:
        busy = Browser().get("/nodes/~export.csv")
    finally:
        EXPORTS._wait_seconds = before
        del running
    assert (busy.status_code, busy["Retry-After"]) == (503, "2")
    assert "Temporarily busy" in busy.content.decode()
    export = Browser().get("/nodes/~export.csv")
    assert export.status_code == 200 and export.getvalue()
