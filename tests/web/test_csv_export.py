"""CSV exports are readable in every script, safe in a spreadsheet and exact about time."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from jatevo.web.csv_export import Cell, csv_answer, csv_lines

NOON = datetime(2026, 3, 4, 12, 0, 0, 5, tzinfo=UTC)


def written(*row: Cell, zone: ZoneInfo | None = None) -> list[str]:
    """The row as a program reads it."""
    text = "".join(csv_lines(["a"], [row], zone=zone or UTC))
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))[1]


def test_the_file_begins_with_a_byte_order_mark_and_names_of_any_script_survive() -> None:
    answer = csv_answer(["名称"], [["青岛 Zoë"]], name="a.csv", zone=UTC)
    raw = answer.getvalue()
    assert raw == b"\xef\xbb\xbf" + "名称\r\n青岛 Zoë\r\n".encode()
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="a.csv"'
    assert answer["Cache-Control"] == "private, no-store"


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\nplain",
    " =1",
    '\n=HYPERLINK("http://x")',
    "\x00=1",
]
# full-width forms; after white space and what is not seen
FORMULAS += ["\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", "\u00a0=1", "\u200b=1", "\ufeff=1", "\u3000\uff1d1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_runs_as_a_formula(text: str) -> None:
    assert written("before", text) == ["before", f"'{text}"]


@pytest.mark.parametrize("text", ["", "a=b", "qwen3:8b", "a-b", "1.2.3", "line\nbreak", 'say "no"', "a,b"])
def test_harmless_text_is_unchanged(text: str) -> None:
    assert written("before", text) == ["before", text]


def test_amounts_keep_every_digit_and_have_no_exponent() -> None:
    row = written(
        Decimal("123456789012345678901234.0000000000000001"),
        Decimal("1E-16"),
        Decimal("-0.00"),
        Decimal("NaN"),
    )
    assert row == ["123456789012345678901234.0000000000000001", "0.0000000000000001", "0.00", ""]


def test_numbers_are_numbers_and_what_is_not_known_is_empty() -> None:
    row = written(-5, -1.5, Decimal("-0.10"), -0.0, float("nan"), float("inf"), None, 0)
    assert row == ["-5", "-1.5", "-0.10", "0.0", "", "", "", "0"]


def test_times_are_in_the_readers_zone_and_say_its_offset() -> None:
    assert written(NOON) == ["2026-03-04T12:00:00Z"]
    assert written(NOON, zone=ZoneInfo("Asia/Shanghai")) == ["2026-03-04T20:00:00+08:00"]
    assert written(NOON, zone=ZoneInfo("America/St_Johns")) == ["2026-03-04T08:30:00-03:30"]
