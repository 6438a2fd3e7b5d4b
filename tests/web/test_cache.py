"""The cache while Redis is up, hangs or is down."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import timezone
from waffle import get_waffle_switch_model

from jatevo.flags.registry import Flag, enabled
from jatevo.local.children import Children
from jatevo.local.valkey import Valkey, start
from jatevo.overview import kpis
from jatevo.web import throttling
from jatevo.web.cache import BreakerCache
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory
from tests.patience import SECONDS
from tests.stopping import pause


@pytest.fixture
def server() -> Iterator[Valkey]:
    """A separate Valkey that the test can stop."""
    home = Path(tempfile.mkdtemp(prefix="jatevo-"))
    children = Children(home / "run")
    yield start(home, children)
    children.close()
    rmtree(home)


@pytest.fixture(autouse=True)
def closed_breaker() -> Iterator[None]:
    throttling.breaker.reset()
    yield
    throttling.breaker.reset()


def cache_of(server: Valkey, timeout_seconds: float = SECONDS) -> BreakerCache:
    """A cache that waits so long for Redis."""
    limits = {"SOCKET_CONNECT_TIMEOUT": timeout_seconds, "SOCKET_TIMEOUT": timeout_seconds}
    normal = settings.CACHES["default"]
    return BreakerCache(server.url, {**normal, "OPTIONS": {**normal["OPTIONS"], **limits}})


def test_what_another_release_left_there_is_missing(server: Valkey) -> None:
    cache = cache_of(server)
    cache.set("plain", 1)
    raw = cache.client.get_client()
    for number, left in enumerate(
        (
            b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x0bjatevo.gone\x94\x8c\x05Figure\x94\x93\x94)\x81\x94.",
            b"cjatevo.web.figures\nNoSuchClass\n.",
            b"\x80\x04",
            b"no pickle at all",
        )
    ):
        raw.set(cache.client.make_key(f"old-{number}"), left)
        assert cache.get(f"old-{number}", "missing") == "missing"
        assert cache.get_many([f"old-{number}", "plain"]) in ({}, {"plain": 1})
    assert cache.get("plain") == 1


def test_keeps_what_it_is_given(server: Valkey) -> None:
    cache = cache_of(server)
    assert cache.set("a", {"n": 1})
    assert cache.set_many({"b": 2, "c": 3}) == []
    assert not cache.add("a", 9)
    assert cache.add("d", 4)
    assert cache.get_many(["a", "b", "missing"]) == {"a": {"n": 1}, "b": 2}
    assert cache.has_key("c")
    assert cache.touch("c", 60)
    assert cache.delete("c")
    assert cache.delete_many(["a", "b"]) == 2
    assert cache.get("a", "default") == "default"
    cache.clear()
    assert cache.get("d") is None
    assert throttling.breaker.closed


def test_hanging_redis_costs_one_time_out(server: Valkey) -> None:
    cache = cache_of(server, timeout_seconds=2)
    cache.set("a", 1)
    pause(server.child.process.pid)
    try:
        begun = time.monotonic()
        for _ in range(20):
            assert cache.get("a", "default") == "default"
            assert cache.get_many(["a"]) == {}
            assert not cache.set("a", 2)
            assert cache.set_many({"a": 2, "b": 3}) == ["a", "b"]
            assert not cache.add("c", 1)
            assert not cache.has_key("a")
            assert not cache.touch("a")
            assert cache.get_or_set("a", lambda: 7) == 7
        assert time.monotonic() - begun < 4, "one time-out, not two"
        assert not throttling.breaker.closed, "the rate limits do not ask either"
    finally:
        os.kill(server.child.process.pid, signal.SIGCONT)
    throttling.breaker.reset()
    assert cache.get("a") == 1


def test_deletion_is_tried_while_the_breaker_is_open(server: Valkey) -> None:
    cache = cache_of(server)
    cache.set_many({"a": 1, "b": 2, "c": 3})
    throttling.breaker.failed(TimeoutError("a hiccup"))
    assert cache.delete("a")
    assert cache.delete_many(["b"]) == 1
    throttling.breaker.reset()
    assert cache.get_many(["a", "b", "c"]) == {"c": 3}


def test_deletion_from_a_dead_redis_is_no_error(server: Valkey) -> None:
    cache = cache_of(server)
    server.child.process.kill()
    server.child.process.wait()
    assert not cache.delete("a")
    assert cache.delete_many(["a"]) == 0
    cache.clear()


@pytest.mark.django_db
def test_flags_and_figures_are_the_same_without_redis(server: Valkey) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    get_waffle_switch_model().objects.update_or_create(
        name=Flag.ENABLE_PRIVATE_POOLS, defaults={"active": True}
    )
    at = timezone.now()
    server.child.process.kill()
    server.child.process.wait()
    with override_settings(CACHES={"default": {**settings.CACHES["default"], "LOCATION": server.url}}):
        begun = time.monotonic()
        for _ in range(3):
            assert enabled(Flag.ENABLE_PRIVATE_POOLS)
            assert not enabled_after_a_change()
            assert kpis.snapshot(at=at).census.active_by_region == {node.region: 1}
        assert time.monotonic() - begun < 5, "nobody waits for a lock"
        assert not throttling.breaker.closed


def enabled_after_a_change() -> bool:
    """An admin switches it off, it is read, and it is switched on again."""
    switch = get_waffle_switch_model().objects.get(name=Flag.ENABLE_PRIVATE_POOLS)
    switch.active = False
    switch.save()
    found = enabled(Flag.ENABLE_PRIVATE_POOLS)
    switch.active = True
    switch.save()
    return found
