"""The CSV writer of all exports: RFC 4180 in UTF-8.

A byte order mark lets spreadsheets recognise UTF-8. Text that a spreadsheet could run as a formula is
escaped. Times are in the person's time zone, each with its offset.
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
# Excel, LibreOffice and Google Sheets run cells that begin with these; in East Asian locales also full-width
# forms.
_FORMULA_STARTS: Final = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
# Characters besides white space that spreadsheets skip before they look for a formula.
_UNSEEN: Final = "\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e"


class _Echo:
    """A file whose write() returns the text."""

    def write(self, text: str) -> str:
        return text


def csv_answer(
    header: Sequence[str], rows: Iterable[Sequence[Cell]], *, name: str, zone: tzinfo
) -> StreamingHttpResponse:
    """The streamed download `name`.

    `zone` is passed in, since the current time zone is reset before it streams.

    Raises ApiError 503 while too many exports run.
    """
    lines = EXPORTS.held_through(csv_lines(header, rows, zone=zone))
    answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "private, no-store"
    return answer


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, zone: tzinfo) -> Iterator[str]:
    """The lines, with the byte order mark and the header first. None (unknown) is an empty cell."""
    writer = csv.writer(_Echo())
    yield _BYTE_ORDER_MARK + writer.writerow(header)
    for row in rows:
        yield writer.writerow([_cell(value, zone) for value in row])


def _cell(value: Cell, zone: tzinfo) -> str | int | float | Decimal:
    match value:
        case None:
            return ""
        case str():
            return defused(value)
        case datetime():
            text = value.astimezone(zone).isoformat(timespec="seconds")
            return text.replace("+00:00", "Z") if zone is UTC or text.endswith("+00:00") else text
        case Decimal():
            # all digits and no exponent; 0 has no sign
            return f"{value if value else value.copy_abs():f}" if value.is_finite() else ""
        case float():
            return value + 0 if isfinite(value) else ""  # adding 0 turns -0 into 0
    return value


def defused(text: str) -> str:
    """The text, with a ' in front if it could run as a formula or begins with a control character or new
    line.
    """
    if text[:1].isalnum():
        return text  # almost every text; the rest takes longer to judge
    begins = text.lstrip().lstrip(_UNSEEN).lstrip()
    if begins.startswith(_FORMULA_STARTS) or (text and ord(text[0]) < 0x20):
        return f"'{text}"
    return text
