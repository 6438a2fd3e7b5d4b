"""What stands out about a receipt, as badges."""

from django import template
from django.utils.safestring import SafeString

from jatevo.web.templatetags.rendered_once import rendered_once
from receipts.models import Receipt

register = template.Library()


@register.simple_tag
def receipt_flags(receipt: Receipt) -> SafeString:
    """`{% receipt_flags receipt %}`: a badge if it failed, if it was hedged and if it came from a cache."""
    return _receipt_flags(receipt.failed, receipt.hedged, receipt.cache_hit)


@rendered_once("receipts/flags.html")
def _receipt_flags(failed: bool, hedged: bool, cache_hit: bool) -> dict[str, bool]:
    return {"failed": failed, "hedged": hedged, "cache_hit": cache_hit}
