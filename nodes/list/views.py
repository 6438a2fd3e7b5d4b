"""Views of the node list: the page, its export, saved views and bulk actions."""

import re
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, allowed, require, user_of
from jatevo.accounts.saved_views import ViewNotSaved, delete_view, save_view
from jatevo.accounts.time_zones import zone_of
from jatevo.audit.record import actor_of, record
from jatevo.flags.registry import Flag
from jatevo.web.csv_export import csv_answer
from jatevo.web.fragments import page_or_fragment, wanted_fragment
from jatevo.web.page_limits import count_export
from nodes.access.names import NodeNames
from nodes.access.rights import rights_to_each
from nodes.actions import NodeError, clear, quarantine
from nodes.list.columns import chosen_columns, columns_for, in_that_order, rows_of
from nodes.list.exports import csv_header, csv_rows
from nodes.list.facets import Facets
from nodes.list.forms import BulkForm, SavedViewForm
from nodes.list.query import COLUMNS_COOKIE, ListQuery, canonical, in_address
from nodes.models import NODE_ID_PATTERN, Node, SavedView
from nodes.slots import actions_for

PER_PAGE = 25
POLL_SECONDS = 10
_FRAGMENTS = {"nodes-list": "rows", "nodes-page": "page"}
_YEAR_SECONDS = 365 * 86_400


@require_safe
@require(Permission.VIEW_NODES, public_while=Flag.ALLOW_ANONYMOUS_OVERVIEW)
def list_nodes(request: HttpRequest) -> HttpResponse:
    """The nodes that the person may see, with filters, order and columns from the URL, 25 per page."""
    tidy = canonical(request.GET)
    if tidy != request.GET and not request.headers.get("HX-Request"):
        return _remembering(request, redirect(f"{request.path}{in_address(tidy)}"))
    now = timezone.now()
    names = NodeNames.of(request.user)
    wanted = _query(request, names)
    facets = wanted.facets()
    # First the ids of the page, then their rows: sorting ten thousand nodes is cheaper without the rows'
    # fields.
    paginator = Paginator(wanted.nodes().values_list("pk", flat=True), PER_PAGE)
    paginator.count = facets.total  # already counted with the facets
    page = paginator.get_page(wanted.query.get("page"))
    rows = rows_of(in_that_order(page.object_list, wanted.columns, request.user), names, at=now)
    rights = rights_to_each(request.user, [row.node for row in rows], names)
    may_moderate = allowed(request.user, Permission.QUARANTINE_NODES)
    acts = actions_for(request.user)
    here = wanted.suffix(page=str(page.number) if page.number > 1 else None)
    context = {
        "wanted": wanted,
        "here": here,
        "list_url": f"{request.path}{here}",
        "facets": facets,
        "applied": wanted.applied(_words(facets)),
        "page": page,
        "rows": [
            (row, may, [(act, act.page(row.node.pk)) for act in acts])
            for row, may in zip(rows, rights, strict=True)
        ],
        "has_actions": any(each.moderate or each.manage for each in rights),
        "columns": wanted.columns,
        "headers": _headers(wanted),
        "available": [(column, column in wanted.columns) for column in columns_for(request.user)],
        "views": _views(request, wanted),
        "may_save": isinstance(request.user, User),
        "any_visible": facets.total > 0 or wanted.visible.exists(),
        "old": next((row.figures.p95_ms.as_of for row in rows if row.figures.old), None),
        "may_enrol": allowed(request.user, Permission.ENROL_NODES),
        "may_moderate": may_moderate,
        "other_actions": [(act, act.many()) for act in acts] if may_moderate else [],
        "bulk_actions": BulkForm.ACTIONS if may_moderate else (),
        "poll_seconds": POLL_SECONDS,
    }
    answer = page_or_fragment(request, "nodes/list/page.html", context, fragments=_FRAGMENTS)
    if wanted_fragment(request, _FRAGMENTS) == "page":  # polling rows keeps the address
        answer["HX-Push-Url"] = f"{request.path}{here}"
    return _remembering(request, answer)


@require_safe
@require(Permission.VIEW_NODES, public_while=Flag.ALLOW_ANONYMOUS_OVERVIEW)
def export_nodes(request: HttpRequest) -> HttpResponseBase:
    """The whole list as CSV, with the same filters, order and columns.

    A filter that makes no sense leads back to the list, which says so: an empty file would hide the mistake.
    """
    count_export(request)
    names = NodeNames.of(request.user)
    wanted = _query(request, names)
    if wanted.problems:
        messages.error(request, "Nothing was exported. Correct the filters first.")
        return redirect(wanted.url())
    now = timezone.now()
    if isinstance(request.user, User):
        with transaction.atomic():
            record(
                "node.export",
                by=actor_of(request.user),
                subject_kind="nodes",
                subject_id="list",
                query=wanted.suffix(),
            )
    rows = csv_rows(wanted.nodes(), wanted.columns, names, reader=request.user, at=now)
    zone = zone_of(request)
    name = f"jatevo-nodes-{now.astimezone(zone):%Y-%m-%d}.csv"
    return csv_answer(csv_header(wanted.columns), rows, name=name, zone=zone)


@require_POST
@require(Permission.VIEW_NODES)
def keep_view(request: HttpRequest) -> HttpResponse:
    """Saves the current filters, order and columns under a name."""
    form = SavedViewForm(request.POST)
    if not form.is_valid():
        for texts in form.errors.values():
            messages.error(request, " ".join(map(str, texts)))
    else:
        try:
            view = save_view(SavedView, **form.cleaned_data, by=user_of(request))
            messages.success(request, f"View “{view.name}” saved.")
        except ViewNotSaved as error:
            messages.error(request, str(error))
    return redirect(f"{reverse('nodes:list')}{form.cleaned_data.get('query', '')}")


@require_POST
@require(Permission.VIEW_NODES)
def forget_view(request: HttpRequest, view_id: int) -> HttpResponse:
    """Deletes one of the person's own views."""
    if delete_view(SavedView, view_id=view_id, by=user_of(request)):
        messages.success(request, "View deleted.")
    return redirect("nodes:list")


@require_POST
@require(Permission.QUARANTINE_NODES)
def moderate_many(request: HttpRequest) -> HttpResponse:
    """Lists the selected nodes and asks for a reason. Given one, applies the action and shows the results."""
    query = canonical(QueryDict(request.POST.get("query", "").removeprefix("?")))
    list_url = f"{reverse('nodes:list')}{in_address(query)}"
    chosen = list(dict.fromkeys(request.POST.getlist("node")))
    if not chosen:
        messages.warning(request, "Select at least one node.")
        return redirect(list_url)
    if len(chosen) > BulkForm.MOST:
        messages.error(request, f"Select at most {BulkForm.MOST} nodes.")
        return redirect(list_url)
    # impossible ids are dropped, because PostgreSQL refuses a null character with an error
    named = [name for name in chosen if re.fullmatch(NODE_ID_PATTERN, name)]
    nodes = list(Node.objects.visible_to(request.user).filter(pk__in=named).order_by("pk"))
    ids = [node.pk for node in nodes]
    asked = "reason" in request.POST
    initial = {"action": request.POST.get("action"), "node": ids}
    form = BulkForm(request.POST if asked else None, initial=initial, node_ids=ids)
    action = dict(BulkForm.ACTIONS).get(request.POST.get("action", ""), "")
    if not action:
        messages.error(request, "Choose an action.")
        return redirect(list_url)
    results = _moderate(nodes, form, user_of(request)) if asked and form.is_valid() else []
    context = {
        "nodes": nodes,
        "form": form,
        "action": action,
        "results": results,
        "query": in_address(query),
        "list_url": list_url,
    }
    return render(request, "nodes/list/bulk.html", context, status=422 if form.errors else 200)


def _moderate(nodes: list[Node], form: BulkForm, by: User) -> list[tuple[Node, str]]:
    """Applies the action to each node. Returns why it was refused for each, '' if it was done.

    A refusal does not stop the others.
    """
    act = {"quarantine": quarantine, "clear": clear}[form.cleaned_data["action"]]
    results = []
    for node in nodes:
        try:
            act(node=node, by=by, reason=form.cleaned_data["reason"], at=timezone.now())
            results.append((node, ""))
        except NodeError as error:
            results.append((node, str(error)))
    return results


def _remembering(request: HttpRequest, answer: HttpResponse) -> HttpResponse:
    """Remembers the columns for a year if they were chosen with the form. Following a link does not count."""
    if chosen := request.GET.getlist("column"):
        answer.set_cookie(
            COLUMNS_COOKIE,
            ",".join(column.key for column in chosen_columns(",".join(chosen), request.user)),
            max_age=_YEAR_SECONDS,
            samesite="Lax",
            secure=request.is_secure(),
            httponly=True,
        )
    return answer


def _query(request: HttpRequest, names: NodeNames) -> ListQuery:
    return ListQuery(
        request.GET, request.user, names, default_columns=request.COOKIES.get(COLUMNS_COOKIE, "")
    )


def _headers(wanted: ListQuery) -> list[dict[str, Any]]:
    """The column headers, with the URLs for sorting by them."""
    headers = []
    for column in wanted.columns:
        sorted_by = wanted.sort.column == column
        turned = (
            wanted.sort.other_way if sorted_by else replace(wanted.sort, column=column, down=column.number)
        )
        headers.append(
            {
                "column": column,
                "url": wanted.url(sort=str(turned)) if column.order else "",
                "aria_sort": ("descending" if wanted.sort.down else "ascending") if sorted_by else "",
            }
        )
    return headers


def _views(request: HttpRequest, wanted: ListQuery) -> list[dict[str, Any]]:
    """The tabs above the list: built-in views, then the person's own."""
    here = wanted.suffix()
    views: list[dict[str, Any]] = [
        {"name": "All", "suffix": ""},
        {"name": "Needs attention", "suffix": "?status=attention"},
    ]
    if wanted.org is not None and getattr(request.user, "is_admin", False):
        views.append({"name": "Mine", "suffix": "?mine=1"})
    if isinstance(request.user, User):
        views += [
            {"name": view.name, "suffix": view.query, "pk": view.pk}
            for view in SavedView.objects.filter(user=request.user)
        ]
    for view in views:
        view["active"] = view["suffix"] == here
    return views


def _words(facets: Facets) -> dict[str, str]:
    chosen = {
        name: next((each.label for each in getattr(facets, name) if each.chosen), "")
        for name in ("status", "region", "runtime")
    }
    return {name: label for name, label in chosen.items() if label}
