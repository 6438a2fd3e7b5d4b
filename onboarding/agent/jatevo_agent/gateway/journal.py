"""What is known on disk of the requests under way, so that a killed agent can still account for them.

One file has a page for each request under way. It is written when the request begins and after each piece that
was delivered, without fsync: the kernel keeps it when the process is killed, but not when the power fails. At
the next start, each request that has no receipt gets one that says what had been delivered when the page was
last written, which is never more than the client got.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, dataclass, fields
from itertools import count
from pathlib import Path

PAGE_BYTES = 4096
_HEADER_BYTES = 8  # the length and the CRC-32 of what follows
_CLOSED = -1  # no file has this descriptor, so writing raises OSError


@dataclass(frozen=True)
class UnderWay:
    """A request that has begun, and what of its answer was delivered. Times are unix seconds."""

    request_id: str
    model_id: str
    model_sha256: str
    prompt_blake3: str
    tokens_output: int
    output_blake3: str | None
    """None if it is not known, or if the answer has no text."""
    started_at: float
    at: float
    hedged: bool


_MEMBERS = [member.name for member in fields(UnderWay)]


class Journal:
    """The file of one running agent. Raises OSError if the disk fails.

    A request that cannot be given its receipt is set aside, and its page is kept for the next start. So are the
    pages that an earlier run has left. Further requests are set aside until `most` are kept.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._most = most
        self._pages: dict[int, int] = {}  # by slot
        self._kept = set(self.left_behind())

    def write(self, slot: int, request: UnderWay) -> None:
        """Replace what the slot holds. A request that does not fit, because of a strange name, is not noted."""
        content = json.dumps(asdict(request), separators=(",", ":")).encode()
        if len(content) <= PAGE_BYTES - _HEADER_BYTES:
            page = self._pages[slot] if slot in self._pages else self._free_page()
            os.pwrite(self._descriptor, _header(content) + content, page * PAGE_BYTES)
            self._pages[slot] = page

    def clear(self, slot: int) -> None:
        """Empty the slot: its request is accounted for."""
        page = self._pages.pop(slot, None)
        if page is not None:
            self._erase(page)

    def set_aside(self, slot: int) -> bool:
        """Empty the slot and keep its request for the next start. False if it was not noted, or too many are kept.

        Nothing is written for that, because the disk may be full.
        """
        page = self._pages.pop(slot, None)
        if page is None:
            return False
        if len(self._kept) >= self._most:
            self._erase(page)
            return False
        self._kept.add(page)
        return True

    def left_behind(self) -> dict[int, UnderWay]:
        """The requests in the file, by page. One whose writing was cut short is left out."""
        found = {}
        page = 0
        while content := os.pread(self._descriptor, PAGE_BYTES, page * PAGE_BYTES):
            request = _parse(content)
            if request is not None:
                found[page] = request
            page += 1
        return found

    def forget(self, page: int) -> None:
        """Remove a request that was left behind."""
        self._kept.discard(page)
        self._erase(page)

    def close(self) -> None:
        """Close the file. Afterwards nothing is noted or erased."""
        if self._descriptor != _CLOSED:
            os.close(self._descriptor)
            self._descriptor = _CLOSED

    def _free_page(self) -> int:
        used = self._kept.union(self._pages.values())
        return next(page for page in count() if page not in used)

    def _erase(self, page: int) -> None:
        os.pwrite(self._descriptor, bytes(_HEADER_BYTES), page * PAGE_BYTES)


def _header(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + zlib.crc32(content).to_bytes(4, "big")


def _parse(page: bytes) -> UnderWay | None:
    content = page[_HEADER_BYTES : _HEADER_BYTES + int.from_bytes(page[:4], "big")]
    if not content or page[:_HEADER_BYTES] != _header(content):
        return None
    try:
        document = json.loads(content)
        # another version may have written more members
        return UnderWay(**{name: document[name] for name in _MEMBERS})
    except (ValueError, KeyError, TypeError):
        return None
