"""The pages of the payout run. A GET shows what would happen and asks; only a POST acts."""

import re
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from earnings.models import ExportFile, Payout, PayoutState
from earnings.payouts import PayoutError, mark_ready, preview, preview_judged
from earnings.run.candidates_table import Totals, run_table
from earnings.run.forms import MarkForm, RunFilter
from jatevo.accounts.permissions import Permission, require, user_of
from jatevo.accounts.step_up import step_up_required
from jatevo.web.fragments import page_or_fragment
from nodes.models import NODE_ID_PATTERN

PER_PAGE = 25
MOST_AT_ONCE = 500
_FRAGMENTS = {"run-found": "found"}
PARTS = {"": "Nodes", "open": "Open payouts", "files": "Export files"}


@require_safe
@require(Permission.PAY_OUT)
def run(request: HttpRequest) -> HttpResponse:
    """Who can be paid and who cannot, open payouts, or export files, depending on `part`."""
    now = timezone.now()
    part = request.GET.get("part", "")
    part = part if part in PARTS else ""
    filters = RunFilter(request.GET)
    open_payouts = Payout.objects.filter(state__in=[PayoutState.PROPOSED, PayoutState.READY])
    context: dict[str, Any] = {
        "part": part,
        "filters": filters,
        "tabs": [
            {
                "label": label,
                "url": f"?part={key}" if key else request.path,
                "active": key == part,
                "count": open_payouts.count() if key == "open" else None,
            }
            for key, label in PARTS.items()
        ],
    }
    match part:
        case "open":
            context |= _open(request)
        case "files":
            files = ExportFile.objects.defer("body")
            context["page"] = Paginator(files, PER_PAGE).get_page(request.GET.get("page"))
        case _:
            context |= _candidates(request, filters, now)
    return page_or_fragment(request, "earnings/run/page.html", context, fragments=_FRAGMENTS)


@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.PAY_OUT)
def ask(request: HttpRequest) -> HttpResponse:
    """Shows what marking the selected nodes would do, and asks for a reason. Changes nothing."""
    if "all" in request.POST:
        filters = RunFilter(QueryDict(request.POST.get("query", "")))
        rows = run_table(filters, at=timezone.now()).rows
        chosen = [each.node_id for each in rows if each.possible][:MOST_AT_ONCE]
    else:
        chosen = _chosen(request.POST if request.method == "POST" else request.GET)
    if not chosen:
        messages.warning(request, "Select at least one node.")
        return redirect("earnings_run:run")
    return _ask(request, chosen, None)


@require_POST
@require(Permission.PAY_OUT)
@step_up_required
def mark(request: HttpRequest) -> HttpResponse:
    """Marks the nodes ready and shows what became of each."""
    chosen = _chosen(request.POST)
    if not chosen:
        messages.warning(request, "Select at least one node.")
        return redirect("earnings_run:run")
    now = timezone.now()
    form = _mark_form(chosen, now, request.POST)
    if not form.is_valid():
        return _ask(request, chosen, form)
    try:
        marked = mark_ready(
            nodes=chosen,
            by=user_of(request),
            at=now,
            reason=form.cleaned_data["reason"],
            override=form.cleaned_data.get("override", ()),
        )
    except PayoutError as error:
        form.add_error(None, str(error))
        return _ask(request, chosen, form)
    return render(request, "earnings/run/marked.html", {"marked": marked})


def _candidates(request: HttpRequest, filters: RunFilter, now: datetime) -> dict[str, Any]:
    table = run_table(filters, at=now)
    page = Paginator(table.rows, PER_PAGE).get_page(request.GET.get("page"))
    possible = [each for each in table.rows if each.possible]
    return {
        "table": table,
        "page": page,
        "previews": preview_judged(list(page.object_list), at=now),
        "every": Totals.of(possible[:MOST_AT_ONCE]),
        "more": max(0, len(possible) - MOST_AT_ONCE),
        "any_balance": bool(table.eligible.nodes or table.not_eligible.nodes),
    }


def _open(request: HttpRequest) -> dict[str, Any]:
    payouts = Payout.objects.select_related("org").order_by("pk")
    ready = payouts.filter(state=PayoutState.READY)
    return {
        "proposed": list(payouts.filter(state=PayoutState.PROPOSED)[:MOST_AT_ONCE]),
        "page": Paginator(ready, PER_PAGE).get_page(request.GET.get("page")),
        "me": user_of(request).email,
    }


def _ask(request: HttpRequest, chosen: list[str], form: MarkForm | None) -> HttpResponse:
    now = timezone.now()
    form = form or _mark_form(chosen, now)
    override = form.data.getlist("override") if form.is_bound and isinstance(form.data, QueryDict) else []
    found = preview(nodes=chosen, at=now, override=override)
    going = [each for each in found if each.possible or (each.overridable and not _stuck(each))]
    context = {
        "form": form,
        "chosen": chosen,
        "going": going,
        "total": Totals.of(going),
        "left_out": [each for each in found if each not in going],
        "back": reverse("earnings_run:run"),
    }
    return render(request, "earnings/run/preview.html", context, status=422 if form.errors else 200)


def _stuck(each: Any) -> bool:
    """Whether something else than overridable rules stands in the way."""
    return each.candidate.open_payout_id is not None or any(
        rule not in each.overridable for rule in each.failed
    )


def _mark_form(chosen: list[str], now: datetime, data: QueryDict | None = None) -> MarkForm:
    found = preview(nodes=chosen, at=now)
    rules = {rule.rule for each in found if not _stuck(each) for rule in each.overridable}
    return MarkForm(data, overridable=sorted(rules))


def _chosen(query: QueryDict) -> list[str]:
    """The selected nodes. Impossible ids are dropped, because PostgreSQL refuses a null character."""
    named = [name for name in query.getlist("node") if re.fullmatch(NODE_ID_PATTERN, name)]
    return list(dict.fromkeys(named))[:MOST_AT_ONCE]


@require_safe
@require(Permission.PAY_OUT)
def file(request: HttpRequest, number: int) -> HttpResponse:
    """An export file: its payments, what came back, and its hash."""
    found = get_object_or_404(ExportFile.objects.defer("body"), pk=number)
    payments = found.payments.select_related("org").order_by("pk")
    context = {
        "file": found,
        "sha256": bytes(found.sha256).hex(),
        "page": Paginator(payments, 100).get_page(request.GET.get("page")),
    }
    return render(request, "earnings/run/file.html", context)


@require_safe
@require(Permission.PAY_OUT)
def download(request: HttpRequest, number: int) -> HttpResponse:
    """The file, byte for byte as it was made."""
    found = get_object_or_404(ExportFile, pk=number)
    answer = HttpResponse(bytes(found.body), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="jatevo-export-{number:06d}.csv"'
    answer["Cache-Control"] = "private, no-store"
    return answer
