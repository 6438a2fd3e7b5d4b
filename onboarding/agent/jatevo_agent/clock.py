"""The console's time, as far as the agent knows it.

The console checks the times of signed requests and receipts by its own clock, with a tolerance of 300 s. A
heartbeat may be at most 30 s ahead. If this machine's clock is off, the agent corrects it by an offset.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from datetime import datetime

from . import logs

TOLERATED_DRIFT_SECONDS = 10.0
_DECIMALS = re.compile(r"\.([0-9]+)")


class ConsoleClock:
    """This machine's clock, with an offset if the console's time differs too much. Thread-safe."""

    def __init__(self, local_time: Callable[[], float] = time.time) -> None:
        self._local_time = local_time
        self._lock = threading.Lock()
        self._offset_seconds = 0.0

    @property
    def offset_seconds(self) -> float:
        """The console's time minus this machine's. 0 while they agree within the tolerance."""
        return self._offset_seconds

    def now(self) -> float:
        """Unix seconds."""
        return self._local_time() + self._offset_seconds

    def observe(self, server_unix_seconds: float | None) -> None:
        """Compare with a time that the console has just sent, and set the offset if this clock is far off.

        An answer takes part of a second to arrive, so small differences are ignored.
        """
        if server_unix_seconds is None:
            return
        with self._lock:
            drift_seconds = server_unix_seconds - self.now()
            if abs(drift_seconds) <= TOLERATED_DRIFT_SECONDS:
                return
            offset_seconds = server_unix_seconds - self._local_time()
            # No offset if the machine's clock is within the tolerance again, for example because it was set.
            self._offset_seconds = offset_seconds if abs(offset_seconds) > TOLERATED_DRIFT_SECONDS else 0.0
        logs.warning("this machine's clock is off; using the console's time", seconds=-drift_seconds)


def parse_server_time(value: object) -> float | None:
    """Unix seconds from a `server_time` member, which is RFC 3339 text or a number. None if it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(_as_python_3_9_reads_it(value))
        except ValueError:
            return None
        return parsed.timestamp() if parsed.tzinfo else None
    return None


def _as_python_3_9_reads_it(text: str) -> str:
    """RFC 3339 with `Z` as an offset and six decimals, since `fromisoformat` reads others only from 3.11 on."""
    text = f"{text[:-1]}+00:00" if text[-1:] in ("Z", "z") else text
    return _DECIMALS.sub(lambda match: f".{match[1][:6]:0<6}", text, count=1)
