"""Rate limits and their Redis client."""

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pytest_django import Settings

from jatevo.web import throttling
from jatevo.web.errors import ApiError


def _first_sight(message_id: str, sender: str = "somebody", limit: str = "login_account") -> int:
    (count,) = throttling.first_sights([throttling.SignedMessage("test", message_id, sender)], limit)
    return count


@pytest.fixture
def first_use() -> Iterator[None]:
    """The state of a process that has just started."""
    throttling._client.cache_clear()
    throttling._shared_limiter.cache_clear()
    throttling.breaker.reset()
    yield
    throttling.breaker.reset()


@pytest.mark.usefixtures("first_use")
def test_first_calls_of_many_threads_share_one_client() -> None:
    start = threading.Barrier(16)

    def use(number: int) -> int:
        start.wait()
        for step in range(20):
            throttling.hit("address", f"{number}-{step}")
            assert _first_sight(f"{number}-{step}", str(number), "node")
        return id(throttling.client())

    with ThreadPoolExecutor(16) as pool:
        clients = set(pool.map(use, range(16)))
    gc.collect()
    assert len(clients) == 1
    assert throttling.breaker.closed, "no thread lost its connection"


def test_limit_is_counted_over_the_window_and_says_when_to_come_back() -> None:
    taken = 0
    with pytest.raises(ApiError) as refused:
        for _ in range(100):
            throttling.hit("login_account", "somebody")
            taken += 1
    assert taken == 10
    assert refused.value.status == 429
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 61


def test_replay_guard_lets_each_id_pass_once_and_counts_only_that_request() -> None:
    start = threading.Barrier(12)

    def see(_: int) -> int:
        start.wait()
        return _first_sight("msg_same")

    with ThreadPoolExecutor(12) as pool:
        assert sorted(pool.map(see, range(12))) == [0] * 11 + [1]
    assert _first_sight("msg_other") == 2


@pytest.mark.parametrize("redis_answers", [True, False])
def test_replay_guard_and_limit_share_the_counts_of_other_requests(
    redis_answers: bool, first_use: None
) -> None:
    if not redis_answers:
        throttling.breaker.failed("down")
    for _ in range(9):
        throttling.hit("login_account", "somebody")
    assert _first_sight("msg_tenth") == 10
    assert _first_sight("msg_tenth") == 0
    with pytest.raises(ApiError) as refused:
        throttling.refuse_over(
            _first_sight("msg_next"),
            "login_account",
            "somebody",
        )
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 61
    throttling.forget_sights([throttling.SignedMessage("test", "msg_next", "somebody")])
    assert _first_sight("msg_next") == 12


@pytest.mark.parametrize("redis_answers", [True, False])
def test_each_request_of_a_group_counts_for_its_own_caller(redis_answers: bool, first_use: None) -> None:
    if not redis_answers:
        throttling.breaker.failed("down")
    group = ["rack", "home", *["rack"] * 9, "home"]
    assert throttling.hits("login_account", group) == [None] * 12
    throttling.hit("login_account", "home")
    refused = throttling.hits("login_account", ["home", "rack", *["home"] * 7])
    assert [each is not None for each in refused] == [False, True, *[False] * 6, True]
    waits = [int(each.headers["Retry-After"]) for each in refused if each]
    assert len(waits) == 2
    assert all(1 <= wait <= 61 for wait in waits)


def test_scripts_outlive_a_restart_of_redis(first_use: None) -> None:
    throttling.hit("login_account", "somebody")
    throttling.client().script_flush()
    assert _first_sight("msg_once") == 2
    throttling.client().script_flush()
    throttling.hit("login_account", "somebody")
    assert throttling.breaker.closed


def test_ids_remembered_by_the_process_are_bounded() -> None:
    ids = throttling.RememberedIds(most=3)
    assert [ids.add(key, now=0.0) for key in "abcab"] == [True, True, True, False, False]
    assert ids.add("d", now=0.0)
    assert ids.add("a", now=0.0), "the oldest was let go"
    assert ids.add("d", now=throttling.REPLAY_TTL_SECONDS + 1.0), "its time is over"


@pytest.mark.parametrize("redis_answers", [True, False])
@pytest.mark.usefixtures("first_use")
def test_one_round_trip_counts_what_two_would(redis_answers: bool, settings: Settings) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "address": "3/hour", "node": "5/hour"}
    if not redis_answers:
        throttling.breaker.failed("down")

    def ask(*sent: tuple[str, str, str]) -> list[tuple[bool, int]]:
        """Of address, message and sender: whether the address is over its limit, and the sender's count."""
        messages = [throttling.SignedMessage("test", message, sender) for _, message, sender in sent]
        found = throttling.hits_and_sights("address", [each[0] for each in sent], messages, "node", "node")
        return [(refused is not None, count) for refused, count in found]

    assert ask(("a", "m1", "n1"), ("b", "m2", "n2"), ("a", "m3", "n1")) == [
        (False, 1),
        (False, 1),
        (False, 2),
    ]
    assert ask(("a", "m1", "n1")) == [(False, 0)], "it was seen"
    assert ask(("a", "m4", "n1"), ("b", "m5", "n1")) == [(True, 0), (False, 3)]
    assert ask(("b", "m4", "n1")) == [(False, 4)], "the address over its limit claimed nothing"
    assert ask(*[("b", "m6", "n2")] * 2) == [(True, 0)] * 2
    (refused,) = throttling.hits("address", ["a"])
    assert refused is not None
    assert 3500 < int(refused.headers["Retry-After"]) <= 3601
    assert _first_sight("m6", "n2", "node") == 1, "nobody has seen it"


@pytest.mark.usefixtures("first_use")
def test_counts_of_one_round_trip_end_with_their_windows(settings: Settings) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "address": "9/hour", "node": "9/minute"}
    message = throttling.SignedMessage("test", "window-m", "window-n")
    throttling.hits_and_sights("address", ["window-a"], [message], "node", "node")
    client = throttling.client()
    ends = {str(key): client.ttl(key) for key in client.keys("*window*")}
    assert len(ends) == 3
    for part, seconds in (("address", 3600), ("/window-n/", 60), ("seen", throttling.REPLAY_TTL_SECONDS)):
        (end,) = [end for key, end in ends.items() if part in key]
        assert seconds - 5 < end <= seconds
