"""Rate limits and the replay guard: atomic in Redis across processes, or per process while Redis is away.

Both are one round trip at most. The scripts are called on redis-py's connections, but past its commands, which take
longer than all the rest.

Redis has no data that must not be lost. If it does not answer within its time-out, a breaker opens for a few
seconds, and this process counts alone.
"""

import hashlib
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

import redis
from django.conf import settings
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from jatevo.telemetry import tracing
from jatevo.web.breaker import CircuitBreaker
from jatevo.web.errors import ApiError

REPLAY_TTL_SECONDS: Final = 2 * 300 + 60  # longer than any timestamp is accepted, before or after now
_LIMIT_PREFIX: Final = "jatevo-limit"
LOCAL_REPLAYS: Final = 200_000  # ids remembered per process while Redis is away


T = TypeVar("T")

breaker = CircuitBreaker("Redis")
REDIS: Final = {"db.system.name": "redis"}  # of spans


class RememberedIds:
    """The last ids seen by this process, used while Redis is away."""

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


# Without the lock, two threads could each create a client. When the unused one is garbage-collected, redis-py
# would close a pool that is in use.
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
        RedisStorage(uri, connection_pool=client().connection_pool, key_prefix=_LIMIT_PREFIX)
    )


@cache
def _alone() -> FixedWindowRateLimiter:
    return FixedWindowRateLimiter(MemoryStorage())


@cache
def _limit(text: str) -> RateLimitItem:
    return parse(text)


class _Script:
    """A Lua script that returns a list of numbers."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._sha1 = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - Redis' name for it

    def __call__(self, keys: Sequence[str], *numbers: int) -> list[int]:
        arguments: list[str | int] = [len(keys), *keys, *numbers]
        pool = client().connection_pool
        connection = pool.get_connection()
        try:
            try:
                return self._ask(connection, "EVALSHA", self._sha1, *arguments)
            except NoScriptError:  # Redis was restarted
                return self._ask(connection, "EVAL", self._text, *arguments)
        finally:
            pool.release(connection)

    @staticmethod
    def _ask(connection: Any, *words: str | int) -> list[int]:
        connection.send_command(*words)
        counts: list[int] = connection.read_response()
        return counts


# The window of a limit begins with its first request, as with the `limits` package, which says when it ends.
_LUA: Final = """
local function count(key, more, window)
  local counted = redis.call('INCRBY', key, more)
  if counted == tonumber(more) then redis.call('EXPIRE', key, window) end
  return counted
end
local function see(seen, limit, span, window)
  if redis.call('SET', seen, 1, 'NX', 'EX', span) then return count(limit, 1, window) end
  return 0
end
local counts = {}
"""
_COUNT: Final = _Script(f"""{_LUA}
for number, key in ipairs(KEYS) do counts[number] = count(key, ARGV[number + 1], ARGV[1]) end
return counts
""")
# The keys are pairs: of the message, and of the limit. Requests that were seen before do not count.
_SEE_AND_COUNT: Final = _Script(f"""{_LUA}
for number = 1, #KEYS / 2 do
  counts[number] = see(KEYS[2 * number - 1], KEYS[2 * number], ARGV[1], ARGV[2])
end
return counts
""")
# Both in one: requests are counted by their addresses, and those within the limit are seen. The keys are the addresses, and
# then the pairs. The numbers are: addresses, their window, their limit, the two numbers from above, how many requests each
# address has, and the number of each message's address. The result has the two counts of each message, one after the other.
_COUNT_SEE_AND_COUNT: Final = _Script(f"""{_LUA}
local addresses, amount = tonumber(ARGV[1]), tonumber(ARGV[3])
local so_far = {{}}
for number = 1, addresses do
  local more = ARGV[5 + number]
  so_far[number] = count(KEYS[number], more, ARGV[2]) - more
end
for number = 1, (#KEYS - addresses) / 2 do
  local address = tonumber(ARGV[5 + addresses + number])
  so_far[address] = so_far[address] + 1
  counts[2 * number - 1], counts[2 * number] = so_far[address], 0
  if so_far[address] <= amount then
    local pair = addresses + 2 * number
    counts[2 * number] = see(KEYS[pair - 1], KEYS[pair], ARGV[4], ARGV[5])
  end
end
return counts
""")


def hit(name: str, *keys: str) -> None:
    """Counts one request against settings.RATE_LIMITS[name] for the keys.

    Raises ApiError 429 with Retry-After over the limit.
    """
    limit = _limit(settings.RATE_LIMITS[name])
    (count,) = _shared_or_alone(
        lambda: _COUNT([_limit_key(limit, name, *keys)], limit.get_expiry(), 1),
        lambda: [_count_alone(limit, name, *keys)],
    )
    refuse_over(count, name, *keys)


def hits(name: str, callers: Sequence[str]) -> list[ApiError | None]:
    """Counts a request of each caller, in this order, and says which are over settings.RATE_LIMITS[name]."""
    limit = _limit(settings.RATE_LIMITS[name])
    more = Counter(callers)  # a rack's nodes have one address
    counts = _shared_or_alone(
        lambda: _COUNT(
            [_limit_key(limit, name, caller) for caller in more], limit.get_expiry(), *more.values()
        ),
        lambda: [_count_alone(limit, name, caller, amount=amount) for caller, amount in more.items()],
    )
    before = {caller: count - more[caller] for caller, count in zip(more, counts, strict=True)}
    refused = []
    for caller in callers:
        before[caller] += 1
        refused.append(over(before[caller], name, caller))
    return refused


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A signed message: `scope` is its sender with the kind of sender, such as `node:macbook-001`."""

    scope: str
    message_id: str
    sender: str


def first_sights(messages: Sequence[SignedMessage], name: str, *keys: str) -> list[int]:
    """For each message 0 if its id was seen within the guard's span: only one caller gets another number.

    That is how many requests settings.RATE_LIMITS[name] counts for `keys` and the sender with this one, for `over`.
    """
    limit = _limit(settings.RATE_LIMITS[name])

    def shared() -> list[int]:
        pairs = [key for each in messages for key in _pair(each, limit, name, *keys)]
        return _SEE_AND_COUNT(pairs, REPLAY_TTL_SECONDS, limit.get_expiry())

    def alone() -> list[int]:
        now = time.monotonic()
        return [_see_alone(each, now, limit, name, *keys) for each in messages]

    return _shared_or_alone(shared, alone)


def hits_and_sights(
    by: str, callers: Sequence[str], messages: Sequence[SignedMessage], name: str, *keys: str
) -> list[tuple[ApiError | None, int]]:
    """What `hits(by, callers)` says of the callers, and `first_sights` of their messages, in one round trip.

    A message whose caller is over its limit is not seen.
    """
    per_caller, limit = _limit(settings.RATE_LIMITS[by]), _limit(settings.RATE_LIMITS[name])
    more = Counter(callers)
    places = {caller: number for number, caller in enumerate(more, start=1)}

    def shared() -> list[tuple[int, int]]:
        counts = _COUNT_SEE_AND_COUNT(
            [
                *(_limit_key(per_caller, by, caller) for caller in more),
                *(key for each in messages for key in _pair(each, limit, name, *keys)),
            ],
            *(len(more), per_caller.get_expiry(), per_caller.amount, REPLAY_TTL_SECONDS, limit.get_expiry()),
            *more.values(),
            *(places[caller] for caller in callers),
        )
        return list(zip(counts[::2], counts[1::2], strict=True))

    def alone() -> list[tuple[int, int]]:
        now = time.monotonic()
        counts = []
        for caller, each in zip(callers, messages, strict=True):
            count = _count_alone(per_caller, by, caller)
            within = count <= per_caller.amount
            counts.append((count, _see_alone(each, now, limit, name, *keys) if within else 0))
        return counts

    counts = _shared_or_alone(shared, alone)
    return [(over(count, by, caller), seen) for caller, (count, seen) in zip(callers, counts, strict=True)]


def refuse_over(count: int, name: str, *keys: str) -> None:
    """Raises ApiError 429 with Retry-After if the count is over settings.RATE_LIMITS[name]."""
    if refusal := over(count, name, *keys):
        raise refusal


def over(count: int, name: str, *keys: str) -> ApiError | None:
    """ApiError 429 with Retry-After if the count is over settings.RATE_LIMITS[name]."""
    limit = _limit(settings.RATE_LIMITS[name])
    if count <= limit.amount:
        return None
    return ApiError(
        429,
        "rate_limited",
        f"Rate limit exceeded: more than {limit}.",
        headers={"Retry-After": str(_seconds_left(limit, name, *keys))},
    )


def _pair(message: SignedMessage, limit: RateLimitItem, name: str, *keys: str) -> tuple[str, str]:
    """The keys of a message and of its sender's limit."""
    return _seen_key(message), _limit_key(limit, name, *keys, message.sender)


def _limit_key(limit: RateLimitItem, *keys: str) -> str:
    return f"{_LIMIT_PREFIX}:{limit.key_for(*keys)}"


def _count_alone(limit: RateLimitItem, *keys: str, amount: int = 1) -> int:
    return _alone().storage.incr(limit.key_for(*keys), limit.get_expiry(), amount=amount)


def _see_alone(message: SignedMessage, now: float, limit: RateLimitItem, *keys: str) -> int:
    return _count_alone(limit, *keys, message.sender) if _local_ids.add(_seen_key(message), now) else 0


def redis_is_up() -> bool:
    """Whether limits are currently shared, for callers that must not count per process."""

    def ping() -> bool:
        client().ping()
        return True

    return _shared_or_alone(ping, lambda: False)


def forget_sights(messages: Sequence[SignedMessage]) -> None:
    """Forgets the ids, so that they may come again."""
    keys = [_seen_key(each) for each in messages]
    for key in keys:
        _local_ids.forget(key)
    _shared_or_alone(lambda: client().delete(*keys), lambda: 0)


def _seen_key(message: SignedMessage) -> str:
    return f"jatevo-seen:{message.scope}:{message.message_id}"


def _seconds_left(limit: RateLimitItem, *keys: str) -> int:
    stats = _shared_or_alone(
        lambda: _shared().get_window_stats(limit, *keys), lambda: _alone().get_window_stats(limit, *keys)
    )
    return max(1, int(stats.reset_time - time.time()) + 1)


def _shared_or_alone(shared: Callable[[], T], alone: Callable[[], T]) -> T:
    """The answer of Redis or, while Redis does not answer, of this process."""
    if not breaker.allows():
        return alone()
    try:
        with tracing.span("Redis limits", REDIS):
            answer = shared()
    except redis.RedisError as error:
        breaker.failed(error)
        return alone()
    breaker.succeeded()
    return answer
