"""The pages of the review queue and of disputes. Deciding asks first, and only a POST with a reason acts."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from earnings.accrual import decide, overruled, release_excluded
from earnings.figures.verdicts import newest_verdicts, sentence_of
from earnings.models import Item, VerdictState
from earnings.review.disputes import DisputeOver, count_disputes, dispute_rows, settle, with_sides
from earnings.review.forms import DecisionForm, DisputeForm, ReleaseForm, ReviewFilter
from earnings.review.queue import chosen_rows, group_rows, held_rows, with_examples
from earnings.rules.pricing import exact_sum
from jatevo.accounts.permissions import Permission, require, user_of
from jatevo.web.fragments import page_or_fragment
from jatevo.web.query_values import BadValue, moment
from nodes.actions import NotPossible

PER_PAGE = 25
DISPUTES_PER_PAGE = 10
MOST_GROUPS = 200
MOST_COUNTED = 1000
_FRAGMENTS = {"review-found": "found"}


@require_safe
@require(Permission.REVIEW_EARNINGS)
def queue(request: HttpRequest) -> HttpResponse:
    """What is held, by node and cause, with filters in the address."""
    filters = ReviewFilter(request.GET)
    # read as a whole: counting the groups would sum all receipts once more
    page = Paginator(list(group_rows(held_rows(filters))), PER_PAGE).get_page(request.GET.get("page"))
    disputes = count_disputes(most=MOST_COUNTED)
    context = {
        "filters": filters,
        "page": page,
        "groups": with_examples(list(page.object_list)),
        "any_held": page.paginator.count > 0 or held_rows().exists(),
        "disputes": f"{MOST_COUNTED:,}+" if disputes > MOST_COUNTED else f"{disputes or ''}",
        "until": timezone.now().isoformat(),
    }
    return page_or_fragment(request, "earnings/review/queue.html", context, fragments=_FRAGMENTS)


@require_POST
@require(Permission.REVIEW_EARNINGS)
def decide_many(request: HttpRequest) -> HttpResponse:
    """Lists the selected groups and asks for a decision. Given one with a reason, carries it out."""
    keys = request.POST.getlist("group")[:MOST_GROUPS]
    if not keys:
        messages.warning(request, "Select at least one row.")
        return redirect("earnings_review:queue")
    asked = "reason" in request.POST
    now = timezone.now()
    form = DecisionForm(request.POST if asked else None, initial={"until": request.POST.get("until", "")})
    chosen = chosen_rows(keys, until=_seen_at(request.POST.get("until", "")) or now)
    if asked and form.is_valid():
        return _decide(request, chosen, form)
    found = [group for _, rows in chosen for group in with_examples(list(group_rows(rows)))]
    context = {
        "form": form,
        "groups": found,
        "receipts": sum(each.receipts for each in found),
        "total": exact_sum(each.fees_usd for each in found),
    }
    return render(request, "earnings/review/decide.html", context, status=422 if form.errors else 200)


@require_safe
@require(Permission.REVIEW_EARNINGS)
def disputes(request: HttpRequest) -> HttpResponse:
    """Requests that several organisations claim, with what each says."""
    page = Paginator(dispute_rows(), DISPUTES_PER_PAGE).get_page(request.GET.get("page"))
    found = with_sides([str(row["request_id"]) for row in page.object_list])
    return render(request, "earnings/review/disputes.html", {"page": page, "found": found})


@require_POST
@require(Permission.REVIEW_EARNINGS)
def decide_dispute(request: HttpRequest) -> HttpResponse:
    """Pays one side of a dispute or none, with a reason."""
    form = DisputeForm(request.POST)
    if not form.is_valid():
        for name, texts in form.errors.items():
            messages.error(request, f"{form.fields[name].label or 'Dispute'}: {' '.join(map(str, texts))}")
        return redirect("earnings_review:disputes")
    answers = form.cleaned_data
    winner = None if answers["winner"] == "none" else int(answers["winner"])
    try:
        settle(
            request_id=answers["request_id"],
            winner=winner,
            by=user_of(request),
            reason=answers["reason"],
            at=timezone.now(),
        )
    except (DisputeOver, NotPossible) as error:
        messages.error(request, str(error))
    else:
        paid = "Nobody is paid" if winner is None else "One side is paid"
        messages.success(request, f"{paid} for {answers['request_id']}.")
    return redirect("earnings_review:disputes")


@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.REVIEW_EARNINGS)
def release(request: HttpRequest, node_id: str, request_id: str) -> HttpResponse:
    """Asks for a reason, then pays a receipt that was excluded."""
    item = get_object_or_404(Item, node_id=node_id, request_id=request_id)
    form = ReleaseForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        reason = form.cleaned_data["reason"]
        try:
            release_excluded(item, by=user_of(request), reason=reason, at=timezone.now())
        except NotPossible as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{request_id} is released.")
            return redirect("earnings:item", node_id, request_id)
    verdict = newest_verdicts([(item.day, item.receipt_id)]).get(item.receipt_id)
    context = {"form": form, "item": item, "sentence": sentence_of(verdict) if verdict else ""}
    return render(request, "earnings/review/release.html", context, status=422 if form.errors else 200)


def _seen_at(text: str) -> datetime | None:
    """When the page was shown on which the groups were selected."""
    try:
        return moment(text).start
    except BadValue:
        return None


def _decide(request: HttpRequest, chosen: list[tuple[str, Any]], form: DecisionForm) -> HttpResponse:
    """One action and one audit row a group. A refusal does not stop the others."""
    results = []
    for key, rows in chosen:
        node_id, now = key.split("|")[0], timezone.now()
        problem, count, still_held = "", 0, 0
        try:
            count = decide(
                rows,
                state=VerdictState(form.cleaned_data["state"]),
                by=user_of(request),
                reason=form.cleaned_data["reason"],
                at=now,
            )
            still_held = overruled(node_id, at=now)
        except NotPossible as error:
            problem = str(error)
        if not count and not problem:
            problem = "Nothing of it is held any more. Somebody may have decided a moment ago."
        results.append({"node_id": node_id, "count": count, "still_held": still_held, "problem": problem})
    context = {"results": results, "released": form.cleaned_data["state"] == VerdictState.PAYABLE}
    return render(request, "earnings/review/decided.html", context)
