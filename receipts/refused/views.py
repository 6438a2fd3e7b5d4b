"""The pages of refused receipts: the list, one with its evidence, and its exact bytes.

For those who manage nodes: admins, and operators for the nodes of their own organisation.
"""

from uuid import UUID

from django.db.models.functions import Coalesce, Length
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from jatevo.accounts.permissions import Permission, require
from jatevo.web.errors import ApiError
from jatevo.web.paging import KeysetPage, keyset_page
from jatevo.wire.keys import public_key_text
from receipts.models import RefusalReason, RefusedReceipt, RefusedReceiptQuerySet
from receipts.refused.counts import recent_refusals, recent_unkept
from receipts.refused.evidence import evidence_of
from receipts.refused.forms import RefusedSearch
from receipts.refused.reasons import details_of, told
from receipts.refused.recording import MOST_A_DAY

PER_PAGE = 25
NEWEST_FIRST = ("-received_at", "-id")


@require_safe
@require(Permission.MANAGE_NODES)
def list_refused(request: HttpRequest) -> HttpResponse:
    """The refused receipts that the person may see, newest first."""
    search = RefusedSearch(request.GET)
    visible = RefusedReceipt.objects.visible_to(request.user)
    page = _page(search.narrow(visible), request.GET.get("cursor", ""))
    now = timezone.now()
    context = {
        "search": search,
        "page": page,
        "rows": [(each, told(each.reason), details_of(each)) for each in page.rows],
        "recent": recent_refusals(request.user, at=now),
        "unkept": recent_unkept(request.user, at=now),
        "most_a_day": MOST_A_DAY,
    }
    return render(request, "receipts/refused/list.html", context)


@require_safe
@require(Permission.MANAGE_NODES)
def detail(request: HttpRequest, refused_id: UUID) -> HttpResponse:
    """One refused receipt with its evidence."""
    refused = _visible(request, refused_id)
    key = refused.public_key if refused.reason == RefusalReason.CONFLICT else None
    context = {
        "refused": refused,
        "told": told(refused.reason),
        "invalid": refused.reason == RefusalReason.INVALID,
        "forged": refused.reason == RefusalReason.FORGED,
        "kept_bytes": len(refused.raw),
        "sha256": bytes(refused.sha256).hex(),
        "signed_by": public_key_text(bytes(key)) if key else "",
        "evidence": evidence_of(refused, request.user),
    }
    return render(request, "receipts/refused/detail.html", context)


@require_safe
@require(Permission.MANAGE_NODES)
def raw(request: HttpRequest, refused_id: UUID) -> HttpResponse:
    """The exact bytes that are kept, as a download."""
    refused = _visible(request, refused_id)
    ending = "json" if refused.is_whole else "beginning.txt"
    name = f"refused_{bytes(refused.sha256).hex()[:16]}.{ending}"
    return HttpResponse(
        bytes(refused.raw),
        content_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _page(found: RefusedReceiptQuerySet, cursor: str) -> KeysetPage[RefusedReceipt]:
    """A page of the list; a cursor that is none of ours begins at the top."""
    slim = found.defer("raw").annotate(size=Coalesce("size_bytes", Length("raw")))
    try:
        return keyset_page(slim, cursor=cursor or None, limit=PER_PAGE, fields=NEWEST_FIRST)
    except ApiError:
        return keyset_page(slim, cursor=None, limit=PER_PAGE, fields=NEWEST_FIRST)


def _visible(request: HttpRequest, refused_id: UUID) -> RefusedReceipt:
    """The refused receipt, or 404 for one that does not exist or that the person may not see."""
    found = RefusedReceipt.objects.visible_to(request.user).filter(pk=refused_id).first()
    if found is None:
        raise Http404
    return found
