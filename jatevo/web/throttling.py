"""Rate limits and the replay guard: atomic in Redis across processes, per process while Redis is away.

Redis holds nothing that matters. When it does not answer within its time-out, a breaker keeps us from
asking again for a few seconds, and this process counts alone.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Final, TypeVar

import redis
from django.conf import settings
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from jatevo.web.breaker import CircuitBreaker
from jatevo.web.errors import ApiError

REPLAY_TTL_SECONDS: Final = 2 * 300 + 60  # longer than any timestamp stays acceptable, either side of now
LOCAL_REPLAYS: Final = 200_000  # ids remembered per process while Redis is away


T = TypeVar("T")

breaker = CircuitBreaker("Redis")


class RememberedIds:
    """The last ids seen by this process, for while Redis cannot tell."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, key: str, now: float) -> bool:
        """True the first time within the guard's span."""
        with self._lock:
            if self._seen.get(key, 0.0) > now:
                return False
            self._seen[key] = now + REPLAY_TTL_SECONDS
            self._seen.move_to_end(key)
            while len(self._seen) > self._most:
                self._seen.popitem(last=False)
            return True

    def forget(self, key: str) -> None:
        with self._lock:
            self._seen.pop(key, None)


_local_ids = RememberedIds(LOCAL_REPLAYS)


# Two threads that both find nothing made yet would each make one, and when the loser is collected, redis-py
# closes its pool under whoever uses it.
_making = threading.RLock()


def client() -> "redis.Redis":
    """The Redis connection pool of this process."""
    with _making:
        return _client()


@cache
def _client() -> "redis.Redis":
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=settings.REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=settings.REDIS_TIMEOUT_SECONDS,
        max_connections=settings.REDIS_MAX_CONNECTIONS,
        retry=Retry(NoBackoff(), 0),  # the client's own retries would hold a request for seconds
    )


def _shared() -> FixedWindowRateLimiter:
    with _making:
        return _shared_limiter()


@cache
def _shared_limiter() -> FixedWindowRateLimiter:
    uri = settings.REDIS_URL.replace("unix://", "redis+unix://", 1)
    return FixedWindowRateLimiter(
        RedisStorage(uri, connection_pool=client().connection_pool, key_prefix="jatevo-limit")
    )


@cache
def _alone() -> FixedWindowRateLimiter:
    return FixedWindowRateLimiter(MemoryStorage())


@cache
def _limit(text: str) -> RateLimitItem:
    return parse(text)


def hit(name: str, *keys: str) -> None:
    """Counts one request against settings.RATE_LIMITS[name] for the keys. Over it: 429 with Retry-After."""
    limit = _limit(settings.RATE_LIMITS[name])
    allowed = _shared_or_alone(
        lambda: _shared().hit(limit, name, *keys), lambda: _alone().hit(limit, name, *keys)
    )
    if not allowed:
        raise ApiError(
            429,
            "rate_limited",
            f"More than {limit}.",
            headers={"Retry-After": str(_seconds_left(limit, name, *keys))},
        )


def redis_is_up() -> bool:
    """Whether the limits are shared just now (for what must not be counted per process)."""

    def ping() -> bool:
        client().ping()
        return True

    return _shared_or_alone(ping, lambda: False)


def first_sight(scope: str, message_id: str) -> bool:
    """True if this id was not seen in the guard's span; each id is true for one caller only."""
    key = _seen_key(scope, message_id)
    return _shared_or_alone(
        lambda: bool(client().set(key, 1, nx=True, ex=REPLAY_TTL_SECONDS)),
        lambda: _local_ids.add(key, time.monotonic()),
    )


def forget_sight(scope: str, message_id: str) -> None:
    """The id may come again, as if it had never been seen."""
    key = _seen_key(scope, message_id)
    _local_ids.forget(key)
    _shared_or_alone(lambda: client().delete(key), lambda: 0)


def _seen_key(scope: str, message_id: str) -> str:
    return f"jatevo-seen:{scope}:{message_id}"


def _seconds_left(limit: RateLimitItem, *keys: str) -> int:
    stats = _shared_or_alone(
        lambda: _shared().get_window_stats(limit, *keys), lambda: _alone().get_window_stats(limit, *keys)
    )
    return max(1, int(stats.reset_time - time.time()) + 1)


def _shared_or_alone(shared: Callable[[], T], alone: Callable[[], T]) -> T:
    """What Redis answers, or what this process knows by itself while Redis does not answer."""
    if not breaker.allows():
        return alone()
    try:
        answer = shared()
    except redis.RedisError as error:
        breaker.failed(error)
        return alone()
    breaker.succeeded()
    return answer
