"""HTTP ranges, so that an interrupted download is resumed (RFC 9110, section 14)."""

import re
from dataclasses import dataclass

from django.http import HttpRequest

_ONE_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


@dataclass(frozen=True)
class ByteRange:
    """The bytes from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1


class Unsatisfiable(Exception):
    """The range lies beyond the end."""


def wanted_range(request: HttpRequest, *, size: int, etag: str) -> ByteRange | None:
    """The part of a file of `size` bytes that the client asks for. None is all of it. Raises Unsatisfiable.

    What is not one plain range is answered with the whole file, and so is `If-Range` with another version's ETag: the
    client would join parts of two files.
    """
    found = _ONE_RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if found is None or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        if int(last) == 0 or size == 0:
            raise Unsatisfiable
        return ByteRange(max(0, size - int(last)), size - 1)
    if int(first) >= size:
        raise Unsatisfiable
    if last and int(last) < int(first):
        return None
    return ByteRange(int(first), min(int(last), size - 1) if last else size - 1)
