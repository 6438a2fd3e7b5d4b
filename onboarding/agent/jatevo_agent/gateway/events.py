"""Server-sent events as a stream of bytes: cut at the blank lines between them, and otherwise left as they are."""

from __future__ import annotations

import re

MOST_EVENT_BYTES = 8 * 1024 * 1024

_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LONGEST_BLANK_LINE = 4


class EventTooLong(ValueError):
    """The stream has no end of an event for MOST_EVENT_BYTES."""


class EventSplitter:
    """Collects bytes and returns complete events, each with the blank line that ends it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes, in order. Raises EventTooLong."""
        self._buffer += data
        events = []
        begin = 0
        for match in _BLANK_LINE.finditer(self._buffer, max(0, self._searched - _LONGEST_BLANK_LINE + 1)):
            events.append(bytes(self._buffer[begin : match.end()]))
            begin = match.end()
        del self._buffer[:begin]
        self._searched = len(self._buffer)
        if self._searched > MOST_EVENT_BYTES:
            raise EventTooLong
        return events

    def rest(self) -> bytes:
        """What has come after the last complete event."""
        return bytes(self._buffer)


def data_of(event: bytes) -> bytes | None:
    """The data of an event. None if it has no data line, such as a comment that keeps the connection open."""
    lines = [
        line[5:][1:] if line[5:6] == b" " else line[5:]
        for line in event.splitlines()
        if line.startswith(b"data:")
    ]
    return b"\n".join(lines) if lines else None


def event_of(data: bytes) -> bytes:
    """An event with one line of data."""
    return b"data: " + data + b"\n\n"
