"""CSV for people, one writer for all exports: RFC 4180 in UTF-8.

A byte order mark lets spreadsheets read names of any script. Text that a spreadsheet could take for a formula is
defused. Times are in the zone of the person who asks, and each says its offset.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from math import isfinite
from typing import Final

from django.http import StreamingHttpResponse

from jatevo.web.capped_work import EXPORTS

Cell = str | int | float | Decimal | datetime | None

_BYTE_ORDER_MARK: Final = "\ufeff"
# Excel, LibreOffice and Google Sheets run a cell that begins so; in East Asian settings the full-width forms too.
_FORMULA_STARTS: Final = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
# What spreadsheets skip before they look, but for white space.
_UNSEEN: Final = "\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e"


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def csv_answer(
    header: Sequence[str], rows: Iterable[Sequence[Cell]], *, name: str, zone: tzinfo
) -> StreamingHttpResponse:
    """The download `name`, streamed. `zone` is the reader's: it is no longer the current one while this streams.

    Raises ApiError 503 while too many exports run.
    """
    lines = EXPORTS.held_through(csv_lines(header, rows, zone=zone))
    answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "private, no-store"
    return answer


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, zone: tzinfo) -> Iterator[str]:
    """The lines, the header first and with the byte order mark. What is not known (None) is an empty cell."""
    writer = csv.writer(_Echo())
    yield _BYTE_ORDER_MARK + writer.writerow(header)
    for row in rows:
        yield writer.writerow([_cell(value, zone) for value in row])


def _cell(value: Cell, zone: tzinfo) -> str | int | float | Decimal:
    match value:
        case None:
            return ""
        case str():
            return _defused(value)
        case datetime():
            text = value.astimezone(zone).isoformat(timespec="seconds")
            return text.replace("+00:00", "Z") if zone is UTC or text.endswith("+00:00") else text
        case float() | Decimal():
            return value + 0 if isfinite(value) else ""  # adding 0 turns -0 into 0
    return value


def _defused(text: str) -> str:
    """The text, with a ' before what could run as a formula, or begins with a control character or new line."""
    begins = text.lstrip().lstrip(_UNSEEN).lstrip()
    if begins.startswith(_FORMULA_STARTS) or (text and ord(text[0]) < 0x20):
        return f"'{text}"
    return text
