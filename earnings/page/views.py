"""The page of earnings, the receipts behind its figures, and one receipt as an amount."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from earnings.figures.periods import Period, day_periods
from earnings.figures.query import EarningsQuery, read_query
from earnings.figures.region import region_median
from earnings.figures.scope import NotYours
from earnings.figures.series import By, Step
from earnings.figures.verdicts import cause_label
from earnings.page.chart import chart_of
from earnings.page.item import shown_item
from earnings.page.links import cells_of, day_cells, earner_cells, summary_links
from earnings.page.node_rows import COLUMNS, earners_of
from earnings.page.nothing import why_nothing
from earnings.page.payable_now import hint_of, payable_now
from earnings.page.receipts_behind import receipts_behind
from earnings.page.shared import SharedReads, read_shared
from earnings.page.summary import summary_of
from earnings.page.wallet_card import wallet_card
from jatevo.accounts.models import Org
from jatevo.accounts.permissions import Permission, require, user_of
from jatevo.web.fragments import page_or_fragment, wanted_fragment
from nodes.models import Node

POLL_SECONDS = 15
CHART_POLL_SECONDS = 60
ROWS_PER_PAGE = 25
DAYS_PER_PAGE = 14
_SHOWN = ("sort", "page", "rows", "table")  # what of the page is shown, beside what the query asks for
_FRAGMENTS = {"earnings-summary": "summary", "earnings-chart": "chart", "earnings-tables": "tables"}
_STEPS = {Step.HOUR: "Hours", Step.DAY: "Days", Step.WEEK: "Weeks", Step.MONTH: "Months"}
_BYS = {By.ALL: "All", By.NODE: "By node", By.MODEL: "By model", By.ORG: "By organisation"}


@require_safe
@require(Permission.VIEW_EARNINGS)
def home(request: HttpRequest) -> HttpResponse:
    """An organisation's earnings; for an admin any organisation's, or the whole network's."""
    now = timezone.now()
    query = _query(request, now)
    part = wanted_fragment(request, _FRAGMENTS)
    read = read_shared(query.scope, at=now, with_nodes=True, of_earners=part in (None, "tables"))
    node = _the_node(query, read)
    context: dict[str, Any] = {
        "query": query,
        "is_admin": user_of(request).is_admin,
        "here": f"{request.path}{query.suffix(**{name: request.GET.get(name) for name in _SHOWN})}",
        "node": node,
        # a file covers the same days, whatever the chart shows
        "export_suffix": query.suffix(from_=query.first, to=query.last, step=None, by=None),
        "poll_seconds": POLL_SECONDS,
        "chart_poll_seconds": CHART_POLL_SECONDS,
    }
    if part in (None, "summary"):
        context |= _summary(query, node, read)
    if part in (None, "chart"):
        context |= _chart(query, read, with_table=request.GET.get("table") == "1")
    if part in (None, "tables"):
        context |= _tables(request, query, read)
    if part is None:
        context |= {
            "presets": _presets(query, now),
            "orgs": Org.objects.values_list("pk", "name") if context["is_admin"] else (),
            "has_nodes": query.org is None
            or node is not None
            or bool(read.nodes)
            or Node.objects.filter(org=query.org).exists(),
        }
    return page_or_fragment(request, "earnings/home.html", context, fragments=_FRAGMENTS)


@require_safe
@require(Permission.VIEW_EARNINGS)
def receipts(request: HttpRequest) -> HttpResponse:
    """The receipts behind a figure, with their sums."""
    query = _query(request, timezone.now())
    cursor = request.GET.get("cursor", "")
    behind = receipts_behind(query, cursor)
    context = {
        "query": query,
        "behind": behind,
        "cause_words": cause_label(query.rule, query.cause),
        "sums_hint": "Summed from these receipts just now"
        if behind.singly
        else "From the totals that are kept of them",
        "export_suffix": query.suffix(step=None, by=None)
        if query.scope.line_id
        else query.suffix(from_=query.first, to=query.last, step=None, by=None),
        "back": query.suffix(state=None, rule=None, cause=None, line=None),
        "states": [
            (state, label, query.suffix(state=state, rule=None, cause=None))
            for state, label in (
                ("", "All"),
                ("payable", "Payable"),
                ("held", "Held"),
                ("excluded", "Excluded"),
            )
        ],
    }
    return page_or_fragment(request, "earnings/receipts.html", context, fragments={})


@require_safe
@require(Permission.VIEW_EARNINGS)
def item(request: HttpRequest, node_id: str, request_id: str) -> HttpResponse:
    """One receipt as an amount: its price, its verdicts, and what each rule found."""
    shown = shown_item(user_of(request), node_id, request_id, at=timezone.now())
    if shown is None:
        raise Http404
    return page_or_fragment(
        request,
        "earnings/item.html",
        {"shown": shown},
        fragments={"drawer-body": "drawer"},
    )


def _query(request: HttpRequest, at: datetime) -> EarningsQuery:
    try:
        return read_query(request.GET, request.user, at=at)
    except NotYours as error:
        raise Http404 from error


def _the_node(query: EarningsQuery, read: SharedReads) -> Node | None:
    """The chosen node, or the only one that the organisation has."""
    if len(read.nodes) != 1:  # most organisations have several, of which none is wanted
        return None
    return Node.objects.select_related("org").filter(pk__in=read.nodes).first()


def _summary(query: EarningsQuery, node: Node | None, read: SharedReads) -> dict[str, Any]:
    at = read.at
    summary = summary_of(query.scope, read)
    earns_nothing = node is not None and not summary.sums.fees_usd
    payable = payable_now(query.scope, node, nodes=read.nodes, policy=read.policy, at=at)
    return summary_links(query, summary) | {
        "summary": summary,
        "payable": payable,
        "eligibility_hint": hint_of(payable),
        "wallet": wallet_card(query.scope, at=at),
        "region": region_median(node.region, without_org=node.org_id, at=at) if node is not None else None,
        "nothing": why_nothing(node, query.scope, at=at) if node is not None and earns_nothing else None,
    }


def _chart(query: EarningsQuery, read: SharedReads, *, with_table: bool) -> dict[str, Any]:
    """The chart, and its table if that is wanted: it has hundreds of amounts."""
    table = 1 if with_table else None
    splits = [By.ALL, By.MODEL, By.NODE if query.scope.org_id or query.scope.node_id else By.ORG]
    return {
        "chart": chart_of(query, read),
        "steps": [
            (step, label, query.suffix(step=step.value, table=table, **_fitting(query, step)))
            for step, label in _STEPS.items()
        ],
        "bys": [
            (by, _BYS[by], query.suffix(by=by.value if by is not By.ALL else None, table=table))
            for by in splits
        ],
        "with_table": with_table,
        "table_url": query.suffix(table=None if with_table else 1),
    }


def _fitting(query: EarningsQuery, step: Step) -> dict[str, str | None]:
    """Hours begin with the last two days, and leaving them leads back to thirty days."""
    if (step is Step.HOUR) != (query.step is Step.HOUR):
        return {"from": None, "to": None}
    return {}


def _tables(request: HttpRequest, query: EarningsQuery, read: SharedReads) -> dict[str, Any]:
    earners = earners_of(query, request.GET.get("sort", ""), read.balances or {}, read.nodes)
    rows = Paginator(earners.rows, ROWS_PER_PAGE).get_page(request.GET.get("rows"))
    days, history = _history(query, request.GET.get("page", ""), read)
    # a page of the one list keeps the place in the other
    place = {"page": request.GET.get("page"), "rows": request.GET.get("rows")}
    return {
        "earners": earners,
        "earner_rows_linked": earner_cells(query, rows),
        "earners_total_cells": cells_of(earners.total),
        "earners_title": "Nodes" if earners.of_nodes else "Organisations",
        "earners_caption": "Earnings by node" if earners.of_nodes else "Earnings by organisation",
        "earners_hint": f"{len(earners.rows):,} in all; available, ready and paid out are as of now",
        "rows_links": _links(rows, request.path, query, "rows", place | {"sort": request.GET.get("sort")}),
        "columns": [
            (column, query.suffix(sort=earners.turned(column.key)), earners.aria_sort(column.key))
            for column in COLUMNS
        ],
        "history_linked": day_cells(query, history),
        "history_links": _links(days, request.path, query, "page", place | {"sort": request.GET.get("sort")}),
        "show_jtvo": read.with_jtvo and any(period.jtvo.rates for period in history),
    }


def _history(query: EarningsQuery, page: str, read: SharedReads) -> tuple[Page[date], list[Period]]:
    """One page of the chosen days, newest first."""
    if not read.known:  # then no amount is known, and a zero would say that it is
        return Paginator([], DAYS_PER_PAGE).get_page(1), []
    # days before there was anything are not listed
    since = read.since
    first = max(query.first, since.astimezone(UTC).date()) if since is not None else query.first
    days = [query.last - timedelta(days=n) for n in range((query.last - first).days + 1)]
    if not days:
        return Paginator(days, DAYS_PER_PAGE).get_page(1), []
    shown = Paginator(days, DAYS_PER_PAGE).get_page(page)
    first, last = shown.object_list[-1], shown.object_list[0]
    return shown, day_periods(
        query.scope,
        first,
        last,
        at=read.at,
        rates=read.jtvo_rates,
        judged=read.judged,
        of_days=read.days,
    )


def _links(
    page: Page[Any], path: str, query: EarningsQuery, name: str, place: dict[str, str | None]
) -> dict[str, str]:
    """The previous and the next page, '' for none."""
    numbers = {
        "previous": page.previous_page_number() if page.has_previous() else None,
        "next": page.next_page_number() if page.has_next() else None,
    }
    return {
        word: f"{path}{query.suffix(**{**place, name: str(number)})}" if number else ""
        for word, number in numbers.items()
    }


def _presets(query: EarningsQuery, at: datetime) -> list[dict[str, Any]]:
    """The links to usual ranges of days. Of those that are the same today, the first counts as chosen."""
    today = timezone.localtime(at, timezone=timezone.get_fixed_timezone(0)).date()
    this_month = today.replace(day=1)
    last_month = (this_month - timedelta(days=1)).replace(day=1)
    presets = [
        ("7 days", today - timedelta(days=6), today),
        ("30 days", today - timedelta(days=29), today),
        ("90 days", today - timedelta(days=89), today),
        ("This month", this_month, today),
        ("Last month", last_month, this_month - timedelta(days=1)),
    ]
    shown = (query.first, query.last)
    chosen = next((label for label, first, last in presets if (first, last) == shown), None)
    return [
        {
            "label": label,
            "url": query.suffix(
                from_=first, to=last, step=None if query.step is Step.HOUR else query.step.value
            ),
            "chosen": label == chosen,
        }
        for label, first, last in presets
    ]
