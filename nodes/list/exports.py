"""The node list as CSV."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from nodes.access.names import NodeNames
from nodes.list.columns import Column, Row, rows_of, with_figures
from nodes.models import NodeQuerySet

_AT_ONCE = 1000
# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def csv_lines(
    nodes: NodeQuerySet, columns: Sequence[Column], names: NodeNames, *, at: datetime
) -> Iterator[str]:
    """A header, then a line per node, in the list's order; text that could be a formula gets a leading '.

    Beside a figure stand how well it is known and the moment that it speaks of.
    """
    writer = csv.writer(_Echo())
    yield writer.writerow([heading for column in columns for heading in _headings(column.key)])
    for row in rows_of(_streamed(nodes), names, at=at):
        yield writer.writerow([cell for column in columns for cell in _cells(column.key, row)])


def _streamed(nodes: NodeQuerySet) -> Iterable[Any]:
    return with_figures(nodes).iterator(chunk_size=_AT_ONCE)


_FIGURES = {"p95": "p95_ms", "uptime": "uptime_7d"}
_UNITS = {"p95": "p95_ms", "uptime": "uptime_7d_ratio", "name": "node_id", "earnings": "earnings_usd"}


def _headings(key: str) -> list[str]:
    states = [f"{key}_state", f"{key}_as_of"] if key in _FIGURES else []
    return [_UNITS.get(key, key), *states]


def _cells(key: str, row: Row) -> list[object]:
    if key not in _FIGURES:
        return [_cell(key, row)]
    figure = getattr(row.figures, _FIGURES[key])
    return [figure.value, figure.state.value, _time(figure.as_of)]


def _cell(key: str, row: Row) -> object:
    node = row.node
    match key:
        case "name":
            return _text(row.name)
        case "reputation":
            return node.reputation
        case "earnings":
            return ""  # not known yet, which is not 0
        case "heartbeat":
            return _time(node.last_heartbeat_at)
        case "since":
            return _time(node.status_since)
        case "registered":
            return _time(node.created_at)
        case "models":
            return _text(" ".join(node.models_offered))
        case "gpu":
            return _text(getattr(getattr(node, "attestation", None), "gpu_model", ""))
        case "agent":
            return _text(row.agent_version)
        case "energy":
            return "green" if node.green_energy else ""
        case "org":
            return _text(node.org.name) if row.named else ""
        case "asn":
            return _text(node.asn_hint) if row.named else ""
        case _:
            return _text(str(getattr(node, key)))


def _time(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def _text(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
