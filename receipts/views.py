"""The pages of receipts: the explorer, and one receipt with its evidence."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.views.decorators.http import require_http_methods, require_safe

from jatevo.accounts.permissions import Permission, allowed, require
from jatevo.flags.registry import Flag, enabled
from jatevo.web.errors import ApiError
from jatevo.web.fragments import page_or_fragment, wanted_fragment
from jatevo.web.paging import KeysetPage, page_before
from jatevo.web.postgresql.replica import read
from jatevo.wire.keys import public_key_text
from nodes.models import Node
from receipts.by_file import look_up, look_up_hash
from receipts.chips import applied_filters
from receipts.dispatches.told import told_about
from receipts.exports.query import export_url
from receipts.flags import flags_on
from receipts.forms import ReceiptFile, ReceiptSearch, ReceiptToVerify, node_choices, tidy
from receipts.models import Receipt, ReceiptQuerySet, find_receipt
from receipts.ranges import absolute, preset_links, with_changes, zoomed_out
from receipts.refused.counts import recent_refusals
from receipts.saved_views import views_of
from receipts.search.finding import NEWEST_FIRST, PageWanted, find_page, page_after, position_of
from receipts.search.pages import POLL_SECONDS as TOTALS_POLL_SECONDS
from receipts.search.pages import totals_url
from receipts.slots import PaymentState, payments
from receipts.verify import Check, Compared, verify
from receipts.viewer import pretty

PER_PAGE = 25
MOST_OTHERS = 10
MOST_SEARCHED = 64  # characters that the search of the node list takes
# A receipt is to be on the screen within two seconds of its post. Less often than that, and a page whose network is never
# quiet for a second is not one that has loaded, for programs that wait for it.
POLL_SECONDS = 1.5
_FRAGMENTS = {"receipts-list": "rows", "receipts-found": "found"}


@require_safe
@require(Permission.VIEW_RECEIPTS)
def list_receipts(request: HttpRequest) -> HttpResponse:
    """The receipts that the person sees, newest first. The first page follows what comes in."""
    now = timezone.now()
    visible = Receipt.objects.visible_to(request.user).defer("raw", "payload")
    search = ReceiptSearch(request.GET, queryset=visible, also=("cursor", "before"))
    page, paid_rows = read(lambda: _page_and_payment(search, request, at=now))
    live = not (request.GET.get("cursor") or request.GET.get("before"))
    query = tidy(request.GET)
    shared_url = with_changes(query, request.path, absolute(*search.times))
    wider = zoomed_out(*search.times, at=now)
    context = {
        "search": search,
        "page": page,
        "paid_rows": paid_rows,
        "live": live,
        "here": request.get_full_path(),
        "query": query.urlencode(),
        "presets": preset_links(query, request.path, at=now),
        "zoom_out_url": with_changes(query, request.path, wider) if wider else "",
        "shared_url": request.build_absolute_uri(shared_url),
        "export_url": export_url(request.GET, search),
        "totals_url": totals_url(query),
        "totals_poll_seconds": TOTALS_POLL_SECONDS,
        "applied": list(applied_filters(query, request.path)),
        "saved_views": views_of(request.user, query, at=now),
        "file_form": ReceiptFile(),
        "node_choices": node_choices(search, request.user),
        "has_nodes": bool(page.rows) or Node.objects.named_to(request.user).exists(),
        "poll_seconds": POLL_SECONDS if live else None,
    }
    # beside the heading, which is part of the whole page only
    if wanted_fragment(request, _FRAGMENTS) is None and allowed(request.user, Permission.MANAGE_NODES):
        context["refused"] = recent_refusals(request.user, at=timezone.now())
    return page_or_fragment(request, "receipts/list.html", context, fragments=_FRAGMENTS)


@require_safe
@require(Permission.VIEW_RECEIPTS)
def detail(request: HttpRequest, node_id: str, request_id: str) -> HttpResponse:
    """One receipt: its JSON, whether it verifies and why, and what became of it."""
    receipt = read(lambda: _visible(request, node_id, request_id))
    raw = bytes(receipt.raw)
    verification = verify(receipt) if enabled(Flag.ENABLE_SIGNATURE_VERIFY) else None
    others = Receipt.objects.visible_to(request.user).filter(request_id=request_id).exclude(node_id=node_id)
    (_, payment), *paid_others = read(lambda: _with_others(receipt, others))
    context = {
        "receipt": receipt,
        "verification": verification,
        "checks": [_checked(check) for check in verification.checks] if verification else [],
        "lines": pretty(raw),
        "size_bytes": len(raw),
        "sha256": bytes(receipt.sha256).hex(),
        "public_key": public_key_text(bytes(receipt.public_key)),
        "payment": payment,
        "flags": flags_on(receipt),
        "others": paid_others,
        "told": told_about(receipt, others=others, reader=request.user),
        "model_receipts_url": f"{reverse('receipts:list')}?{urlencode({'model_id': receipt.model_id})}",
        "model_nodes_url": _nodes_url(receipt.model_id),
        "duration_seconds": int((receipt.ts_end - receipt.ts_start).total_seconds()),
    }
    return page_or_fragment(request, "receipts/detail.html", context, fragments={"drawer-body": "drawer"})


@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.VIEW_RECEIPTS)
def by_file(request: HttpRequest) -> HttpResponse:
    """Looks up a receipt by its file or its hash. Leads to it, or says what was found in its place."""
    form = ReceiptFile(request.POST, request.FILES) if request.method == "POST" else ReceiptFile()
    context: dict[str, Any] = {"file_form": form, "form_title": "Look up another" if form.is_bound else ""}
    if form.is_bound and form.is_valid():
        file, sha256 = form.cleaned_data["file"], form.cleaned_data["sha256"]
        raw = file.read() if file else b""
        looked_up = read(
            lambda: look_up(raw, reader=request.user) if file else look_up_hash(sha256, reader=request.user)
        )
        if receipt := looked_up.found:
            return redirect("receipts:detail", receipt.node_id, receipt.request_id)
        context |= {"looked_up": looked_up, "file_name": file.name if file else ""}
        if looked_up.named:
            context["named_sha256"] = bytes(looked_up.named.sha256).hex()
    return render(request, "receipts/by_file.html", context, status=422 if form.errors else 200)


@require_safe
def verify_any(request: HttpRequest) -> HttpResponse:
    """The page that checks a pasted or dropped receipt in the browser. Public, and it receives nothing."""
    return render(request, "receipts/verify.html", {"form": ReceiptToVerify()})


def _nodes_url(model_id: str) -> str:
    """The node list, searched for the model; '' for a name that is too long for its search."""
    if len(model_id) > MOST_SEARCHED:
        return ""
    return f"{reverse('nodes:list')}?{urlencode({'q': model_id})}"


def _page_and_payment(
    search: ReceiptSearch, request: HttpRequest, *, at: datetime
) -> tuple[KeysetPage[Receipt], list[tuple[Receipt, PaymentState]]]:
    page = _page(search, request, at=at)
    return page, _with_payment(page.rows)


def _with_others(receipt: Receipt, others: ReceiptQuerySet) -> list[tuple[Receipt, PaymentState]]:
    """The receipt and those of other nodes for the same request, each with whether it is paid."""
    return _with_payment([receipt, *others.defer("raw", "payload").order_by("accepted_at")[:MOST_OTHERS]])


def _page(search: ReceiptSearch, request: HttpRequest, *, at: datetime) -> KeysetPage[Receipt]:
    """A page of the list. A cursor that is none of ours, or that is near the top, leads to the first page."""
    slim: ReceiptQuerySet = search.queryset.none() if search.problems else search.qs
    cursor, before = request.GET.get("cursor"), request.GET.get("before")
    with suppress(ApiError):
        if cursor:
            return _found(slim, search, request, cursor=cursor, at=at)
        if before:
            page = _found(slim, search, request, before=before, at=at)
            if page.previous:
                return page
    return _found(slim, search, request, at=at)


def _found(
    slim: ReceiptQuerySet,
    search: ReceiptSearch,
    request: HttpRequest,
    *,
    cursor: str | None = None,
    before: str | None = None,
    at: datetime,
) -> KeysetPage[Receipt]:
    """Raises ApiError for a cursor that is none of ours."""

    wanted = _page_before(slim, before) if before else page_after(slim, cursor, limit=PER_PAGE)
    if search.problems:
        return wanted.read(slim)
    return find_page(slim, wanted, search, request.user, at=at)


def _page_before(slim: ReceiptQuerySet, cursor: str) -> PageWanted:
    def read(receipts: ReceiptQuerySet) -> KeysetPage[Receipt]:
        return page_before(receipts, cursor=cursor, limit=PER_PAGE, fields=NEWEST_FIRST)

    return PageWanted(read, PER_PAGE, position_of(slim, cursor), backwards=True)


def _with_payment(receipts: Sequence[Receipt]) -> list[tuple[Receipt, PaymentState]]:
    """Each receipt with whether it is paid."""
    states = payments(receipts)
    return [(receipt, states[receipt.id]) for receipt in receipts]


def _visible(request: HttpRequest, node_id: str, request_id: str) -> Receipt:
    """The receipt, or 404 for one that does not exist or that the person may not see."""
    receipt = find_receipt(request.user, node_id, request_id)
    if receipt is None:
        raise Http404
    return receipt


@dataclass(frozen=True)
class CheckLine:
    """A check as the page says it: a statement that holds, or does not."""

    label: str
    ok: bool
    detail: str
    compared: Sequence[Compared]


_CHECK_LABELS = {
    "bytes": "Bytes",
    "json": "JSON",
    "fields": "Fields",
    "node": "Node",
    "record": "Record",
    "key": "Key",
    "signature": "Signature",
}


def _checked(check: Check) -> CheckLine:
    label = _CHECK_LABELS.get(check.name, check.name.capitalize())
    detail = capfirst(check.detail) if check.ok else f"Failed: {check.detail}"
    return CheckLine(label, check.ok, detail, check.compared)
