"""What several parts of the page show, read once for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from earnings.figures.as_of import judged_until, rates_are_set
from earnings.figures.balances import Balances
from earnings.figures.jtvo import JtvoRates
from earnings.figures.payout import policy_at
from earnings.figures.periods import days_of_month
from earnings.figures.scope import Scope
from earnings.figures.series import known_since
from earnings.figures.sums import Sums, sums_by_day
from earnings.models import Policy
from earnings.page.node_rows import earners_balances
from jatevo.flags.registry import Flag, enabled
from nodes.models import Node


@dataclass(frozen=True)
class SharedReads:
    """`days` has the sums of the chosen days and of this month's. `judged`: until when everything is judged.

    `known`: there are rates. `since`: from when on a quiet day is zero. `with_jtvo`: estimates in JTVO are shown.
    `balances` are those of the earners (node_rows.py), None where no table of these is shown. `nodes` are those that the
    scope's organisation has, narrowed to the scope's node, with status and region; none for the whole network,
    nor without `with_nodes`.
    """

    at: datetime
    judged: datetime
    known: bool
    since: datetime | None
    days: Mapping[date, Sums]
    jtvo_rates: JtvoRates
    policy: Policy
    with_jtvo: bool
    nodes: Mapping[str, tuple[str, str]]
    balances: Mapping[Any, Balances] | None = None


def read_shared(
    scope: Scope, *, at: datetime, with_nodes: bool = False, of_earners: bool = False
) -> SharedReads:
    """The reads for the scope, as of now. `of_earners`: with the balances of each earner."""
    return SharedReads(
        at=at,
        judged=judged_until(at),
        known=rates_are_set(),
        since=known_since(scope),
        days=sums_by_day(scope, also=days_of_month(at)),
        jtvo_rates=JtvoRates(),
        policy=policy_at(at),
        with_jtvo=enabled(Flag.SHOW_JTVO_ESTIMATES),
        nodes=_nodes(scope) if with_nodes else {},
        balances=earners_balances(scope) if of_earners else None,
    )


def _nodes(scope: Scope) -> dict[str, tuple[str, str]]:
    if scope.org_id is None and scope.node_id is None:
        return {}
    own = scope.narrow(Node.objects.order_by("pk"), node="pk").values_list("pk", "status", "region")
    return {node_id: (status, region) for node_id, status, region in own}
