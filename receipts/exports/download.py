"""The download of a stored export: all of it or a range, read part by part."""

from collections.abc import Iterator

from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.cache import get_conditional_response

from jatevo.web.capped_work import DOWNLOADS
from jatevo.web.ranges import ByteRange, Unsatisfiable, wanted_range
from receipts.models import ReceiptExport, ReceiptExportPart


def file_answer(request: HttpRequest, export: ReceiptExport) -> HttpResponseBase:
    """The file. A written one never changes, so its id and its size identify its bytes."""
    etag = f'"{export.pk}-{export.size_bytes}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{export.file_name}"',
    }
    unchanged = get_conditional_response(request, etag=etag)
    if unchanged is not None:
        return unchanged
    try:
        part = wanted_range(request, size=export.size_bytes, etag=etag)
    except Unsatisfiable:
        return HttpResponse(status=416, headers={**headers, "Content-Range": f"bytes */{export.size_bytes}"})
    whole = ByteRange(0, export.size_bytes - 1)
    sent = part or whole
    answer = StreamingHttpResponse(
        () if request.method == "HEAD" else DOWNLOADS.held_through(_bytes(export, sent)),
        status=206 if part else 200,
        content_type="application/gzip",
        headers={**headers, "Content-Length": str(sent.size)},
    )
    if part:
        answer["Content-Range"] = f"bytes {part.first}-{part.last}/{export.size_bytes}"
    return answer


def _bytes(export: ReceiptExport, wanted: ByteRange) -> Iterator[bytes]:
    """The bytes, part by part. Between them no database connection is held, since the client may be slow."""
    parts = ReceiptExportPart.objects.filter(export=export).order_by("number")
    places = list(parts.values_list("pk", "first_byte", "size_bytes"))
    for pk, first_byte, size in places:
        begin, end = max(wanted.first, first_byte), min(wanted.last, first_byte + size - 1)
        if begin > end:
            continue
        data = bytes(ReceiptExportPart.objects.values_list("data", flat=True).get(pk=pk))
        if not connection.in_atomic_block:
            connection.close()  # back to the pool
        yield data[begin - first_byte : end - first_byte + 1]
