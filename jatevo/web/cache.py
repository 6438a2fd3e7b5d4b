"""Django's cache in Redis, behind the breaker that the rate limits use.

The console works without the cache. A Redis that is down or hangs costs one time-out; until the breaker
closes again, pages compute their values without asking Redis.
"""

from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import redis
import structlog
from django_redis.cache import RedisCache

from jatevo.telemetry import tracing
from jatevo.web.throttling import REDIS, breaker

# Errors of unpickling if classes are gone or have changed (https://docs.python.org/3/library/pickle.html).
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
    """Never raises because of Redis: values it cannot read are missing, values it cannot write are not kept.

    Values of another release, whose classes this one may not know, are missing too.

    Deletions are tried even while the breaker is open. They are rare, and a value that was not deleted (such
    as a feature flag's) would be used later. `incr` and `decr` raise, because they have no value to fall back
    on.
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
        """Sets several values. Returns the keys that were not stored."""
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
            with tracing.span(f"Redis {operation.__name__}", REDIS):
                answer = operation(*args, **kwargs)
        except redis.RedisError as error:
            breaker.failed(error)
            return unanswered
        breaker.succeeded()
        return answer
