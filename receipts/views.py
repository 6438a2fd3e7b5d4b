"""The pages of receipts: the explorer, and one receipt with its evidence."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jatevo.accounts.permissions import Permission, require
from jatevo.flags.registry import Flag, enabled
from jatevo.web.errors import ApiError
from jatevo.web.fragments import page_or_fragment
from jatevo.web.paging import KeysetPage, keyset_page
from nodes.models import Node
from receipts.forms import ReceiptSearch, presets
from receipts.models import Receipt, ReceiptIdentity, ReceiptQuerySet
from receipts.slots import PaymentState, payments
from receipts.verify import Check, verify
from receipts.viewer import pretty

PER_PAGE = 25
MOST_OTHERS = 10
POLL_SECONDS = 1  # a receipt is to be on the screen within two seconds of its post
NEWEST_FIRST = ("-accepted_at", "-id")
_FRAGMENTS = {"receipts-list": "rows", "receipts-found": "found"}


@require_safe
@require(Permission.VIEW_RECEIPTS)
def list_receipts(request: HttpRequest) -> HttpResponse:
    """The receipts that the person sees, newest first. The first page follows what comes in."""
    visible = Receipt.objects.visible_to(request.user)
    search = ReceiptSearch(request.GET, queryset=visible)
    found = visible.none() if search.problems else search.qs
    cursor = request.GET.get("cursor", "")
    page = _page(found, cursor)
    live = not cursor
    context = {
        "search": search,
        "page": page,
        "paid_rows": _with_payment(page.rows),
        "live": live,
        "here": request.get_full_path(),
        "filtered": search.in_use,
        "presets": presets(request.GET, request.path, at=timezone.now()),
        "has_nodes": bool(page.rows) or Node.objects.named_to(request.user).exists(),
        "poll_seconds": POLL_SECONDS if live else None,
    }
    return page_or_fragment(request, "receipts/list.html", context, fragments=_FRAGMENTS)


@require_safe
@require(Permission.VIEW_RECEIPTS)
def detail(request: HttpRequest, node_id: str, request_id: str) -> HttpResponse:
    """One receipt: its JSON, whether it verifies and why, and what became of it."""
    receipt = _visible(request, node_id, request_id)
    lines = pretty(bytes(receipt.raw))
    verification = verify(receipt) if enabled(Flag.ENABLE_SIGNATURE_VERIFY) else None
    others = Receipt.objects.visible_to(request.user).filter(request_id=request_id).exclude(node_id=node_id)
    shown = [receipt, *others.defer("raw", "payload").order_by("accepted_at")[:MOST_OTHERS]]
    (_, payment), *paid_others = _with_payment(shown)
    context = {
        "receipt": receipt,
        "verification": verification,
        "checks": [_checked(check) for check in verification.checks] if verification else [],
        "lines": lines,
        "size_bytes": len(receipt.raw),
        "sha256": bytes(receipt.sha256).hex(),
        "payment": payment,
        "others": paid_others,
        "duration_seconds": int((receipt.ts_end - receipt.ts_start).total_seconds()),
    }
    return page_or_fragment(request, "receipts/detail.html", context, fragments={"drawer-body": "drawer"})


def _page(found: ReceiptQuerySet, cursor: str) -> KeysetPage[Receipt]:
    """A page of the list; a cursor that is none of ours begins at the top."""
    slim = found.select_related(None).defer("raw", "payload")
    try:
        return keyset_page(slim, cursor=cursor or None, limit=PER_PAGE, fields=NEWEST_FIRST)
    except ApiError:
        return keyset_page(slim, cursor=None, limit=PER_PAGE, fields=NEWEST_FIRST)


def _with_payment(receipts: Sequence[Receipt]) -> list[tuple[Receipt, PaymentState]]:
    """Each receipt with whether it is paid."""
    states = payments(receipts)
    return [(receipt, states[receipt.id]) for receipt in receipts]


def _visible(request: HttpRequest, node_id: str, request_id: str) -> Receipt:
    """The receipt, or 404 for one that does not exist or that the person may not see."""
    identity = ReceiptIdentity.objects.filter(node_id=node_id, request_id=request_id).first()
    if identity is None:
        raise Http404
    found = Receipt.objects.visible_to(request.user).select_related("node")
    # the identity's time leads to the one partition that holds the receipt
    receipt = found.filter(accepted_at=identity.accepted_at, node_id=node_id, request_id=request_id).first()
    if receipt is None:
        raise Http404
    return receipt


@dataclass(frozen=True)
class CheckLine:
    """A check as the page says it: a statement that holds, or does not."""

    label: str
    ok: bool
    detail: str


_CHECK_LABELS = {
    "bytes": "Bytes",
    "json": "JSON",
    "fields": "Fields",
    "node": "Node",
    "key": "Key",
    "signature": "Signature",
}


def _checked(check: Check) -> CheckLine:
    label = _CHECK_LABELS.get(check.name, check.name.capitalize())
    return CheckLine(label, check.ok, check.detail if check.ok else f"Failed: {check.detail}")
