"""The tab "Earnings" of a node, from the same figures as the page."""

from datetime import UTC, datetime, timedelta
from typing import Any

from earnings.figures.periods import day_periods
from earnings.figures.query import EarningsQuery, read_query
from earnings.figures.region import region_median
from earnings.page.links import receipts_of_days, summary_links
from earnings.page.nothing import why_nothing
from earnings.page.payable_now import hint_of, payable_now
from earnings.page.shared import read_shared
from earnings.page.summary import summary_of
from earnings.page.wallet_card import wallet_card
from jatevo.accounts.models import User
from nodes.models import Node

DAYS_SHOWN = 10
TEMPLATE = "earnings/node_tab.html"


def tab_of(node: Node, reader: User, at: datetime) -> dict[str, Any]:
    """The context of the tab: the last 30 days, what is under way, and the last days one by one."""
    query: EarningsQuery = read_query({"node": node.pk}, reader, at=at)
    scope = query.scope
    read = read_shared(scope, at=at)
    summary = summary_of(scope, read)
    payable = payable_now(scope, node, nodes=read.nodes, policy=read.policy, at=at)
    today = at.astimezone(UTC).date()
    periods = day_periods(
        scope,
        today - timedelta(days=DAYS_SHOWN - 1),
        today,
        at=at,
        rates=read.jtvo_rates,
        judged=read.judged,
        of_days=read.days,
    )
    return summary_links(query, summary) | {
        "query": query,
        "summary": summary,
        "history_linked": [(period, receipts_of_days(query, period)) for period in periods],
        "wallet": wallet_card(scope, at=at),
        "payable": payable,
        "eligibility_hint": hint_of(payable),
        "region": region_median(node.region, without_org=node.org_id, at=at),
        "nothing": why_nothing(node, scope, at=at) if not summary.sums.fees_usd else None,
    }
