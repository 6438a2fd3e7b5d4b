"""Django's cache in Redis, behind the breaker that the rate limits use.

The cache is a convenience: a Redis that is down or hangs costs one time-out, and until the breaker closes
again every page computes afresh without asking.
"""

from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import redis
import structlog
from django_redis.cache import RedisCache

from jatevo.web.throttling import breaker

# What unpickling raises for classes that are gone or have changed (https://docs.python.org/3/library/pickle.html).
UNREADABLE = (
    UnpicklingError,
    AttributeError,
    ImportError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
)

log = structlog.get_logger(__name__)


class BreakerCache(RedisCache):
    """Never raises because of Redis: what it cannot read is missing, what it cannot write is not kept.

    Nor because of what an older or newer release has left there, whose classes this one may not know.

    Deletions are tried even while the breaker is open. They are rare, and a value left behind by a hiccup
    (a feature flag's, say) would be believed afterwards. `incr` and `decr` have no answer to fall back on
    and raise.
    """

    def get(self, key: Any, default: Any = None, version: int | None = None, client: Any = None) -> Any:
        return self._read(super().get, default, key, default, version, client)

    def get_many(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return self._read(super().get_many, {}, *args, **kwargs)

    def has_key(self, *args: Any, **kwargs: Any) -> bool:
        return self._ask(super().has_key, False, *args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return self._ask(super().add, False, *args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> bool:
        return self._ask(super().set, False, *args, **kwargs)

    def set_many(self, data: dict[Any, Any], *args: Any, **kwargs: Any) -> list[Any]:
        """The keys that were not kept."""
        return self._ask(super().set_many, list(data), data, *args, **kwargs) or []

    def touch(self, *args: Any, **kwargs: Any) -> bool:
        return self._ask(super().touch, False, *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return self._try(super().delete, False, *args, **kwargs)

    def delete_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._try(super().delete_many, 0, *args, **kwargs)

    def clear(self) -> Any:
        return self._try(super().clear, False)

    def _read(self, operation: Callable[..., Any], unanswered: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._ask(operation, unanswered, *args, **kwargs)
        except UNREADABLE as error:
            log.warning("what the cache holds cannot be read", error=repr(error))
            return unanswered

    def _ask(self, operation: Callable[..., Any], unanswered: Any, *args: Any, **kwargs: Any) -> Any:
        return self._try(operation, unanswered, *args, **kwargs) if breaker.allows() else unanswered

    def _try(self, operation: Callable[..., Any], unanswered: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            answer = operation(*args, **kwargs)
        except redis.RedisError as error:
            breaker.failed(error)
            return unanswered
        breaker.succeeded()
        return answer
