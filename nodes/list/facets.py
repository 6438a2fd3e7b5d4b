"""How many nodes each choice of a filter would leave, given all other filters, in one query."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Case, Count, Value, When

from jatevo.accounts.models import Org
from nodes.models import NodeQuerySet, Runtime
from nodes.rules.lifecycle import Status
from nodes.rules.reachability import Reachability, reachability

# A choice of the status filter that stands for two statuses.
ATTENTION = "attention"
NEED_ATTENTION = (Status.QUARANTINE, Status.OFFLINE)

NAMES = ("status", "reachable", "region", "runtime", "mine")


@dataclass(frozen=True)
class Option:
    """A choice of a filter: its value in the URL, its label, and how many nodes it would leave."""

    value: str
    label: str
    count: int
    chosen: bool


@dataclass(frozen=True)
class Facets:
    """The options of each filter, and how many nodes match all filters."""

    status: list[Option]
    reachable: list[Option]
    region: list[Option]
    runtime: list[Option]
    mine: int
    total: int


def count_facets(nodes: NodeQuerySet, chosen: Mapping[str, str], *, org: Org | None) -> Facets:
    """Counts the options. `nodes` already match the text and reputation filters.

    `chosen` has the values of the other filters, '' for any.
    """
    wanted = {name: _accepted(value) for name, value in chosen.items() if value}
    mine = Case(When(org=org, then=Value("1")), default=Value("")) if org is not None else Value("")
    cells = nodes.order_by().annotate(mine=mine).values_list(*NAMES).annotate(number=Count("pk"))
    totals: dict[str, Counter[str]] = {name: Counter() for name in NAMES}
    total = 0
    for status, reachable, *others, number in cells:
        values = [status, reachability(reachable).value, *others]
        misses = [
            name
            for name, value in zip(NAMES, values, strict=True)
            if name in wanted and value not in wanted[name]
        ]
        if not misses:
            total += number
        for name, value in zip(NAMES, values, strict=True):
            if not misses or misses == [name]:
                totals[name][value] += number
    totals["status"][ATTENTION] = sum(totals["status"][each] for each in NEED_ATTENTION)
    statuses = [(each.value, each.label) for each in Status]
    return Facets(
        status=_options([*statuses, (ATTENTION, "Needs attention")], totals["status"], chosen.get("status")),
        reachable=_options(
            [(each.value, each.label) for each in Reachability], totals["reachable"], chosen.get("reachable")
        ),
        region=_options(
            [(each, each) for each in sorted({*totals["region"], *filter(None, [chosen.get("region")])})],
            totals["region"],
            chosen.get("region"),
        ),
        runtime=_options(list(Runtime.choices), totals["runtime"], chosen.get("runtime")),
        mine=totals["mine"]["1"],
        total=total,
    )


def _accepted(value: str) -> frozenset[str]:
    return frozenset(NEED_ATTENTION) if value == ATTENTION else frozenset({value})


def _options(choices: list[tuple[str, str]], counts: Counter[str], chosen: str | None) -> list[Option]:
    return [Option(value, label, counts[value], value == chosen) for value, label in choices]
