"""The cells of a receipt in a list. There are hundreds on a page that polls, so they are not a template.

All but the time since follows from the arguments, which this process keeps with the cells for the next poll.
"""

from functools import lru_cache
from typing import Final

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from jatevo.web.routes import path_to
from jatevo.web.templatetags.moments import when
from jatevo.web.templatetags.numbers import count, milliseconds
from jatevo.web.templatetags.ui import badge
from receipts.models import Receipt
from receipts.slots import PaymentState
from receipts.templatetags.receipt_flags import receipt_flags

KEPT: Final = 4096
_REQUEST: Final = (
    '<th scope="row" class="sticky start-0 bg-panel group-hover:bg-raised group-focus-within:bg-raised">'
    '<a class="link block max-w-40 truncate font-mono sm:max-w-56" data-open id="open-{id}" href="{url}"'
    ' title="{request_id}" hx-get="{url}" hx-target="#drawer-body">{request_id}</a></th>'
)
_WORK: Final = (
    '<td><a class="link block max-w-40 truncate" href="{url}" title="{node_id}">{node_id}</a></td>'
    '<td>{region}</td><td><span class="block max-w-36 truncate" title="{model_id}">{model_id}</span></td>'
    '<td class="num">{tokens_input} / {tokens_output}</td><td class="num">{p95}</td>'
)

register = template.Library()


@register.simple_tag
def receipt_cells(receipt: Receipt, payment: PaymentState) -> SafeString:
    """`{% receipt_cells receipt payment %}`: the cells of its row."""
    node_id, request_id = receipt.node_id, receipt.request_id
    parts = (
        _request(receipt.id, request_id, path_to("receipts:detail", node_id, request_id)),
        "<td>",
        when(receipt.accepted_at),
        "</td>",
        _work(
            node_id,
            path_to("nodes:detail", node_id),
            receipt.region,
            receipt.model_id,
            receipt.tokens_input,
            receipt.tokens_output,
            receipt.p95_ms,
        ),
        _payment(payment.sentence, payment.label, payment.tone),
        "<td>",
        receipt_flags(receipt),
        "</td>",
    )
    return mark_safe("".join(parts))  # noqa: S308  # the parts have escaped what they show


@lru_cache(maxsize=KEPT, typed=True)
def _request(id: int, request_id: str, url: str) -> SafeString:
    return format_html(_REQUEST, id=id, request_id=request_id, url=url)


@lru_cache(maxsize=KEPT, typed=True)
def _work(
    node_id: str, url: str, region: str, model_id: str, tokens_input: int, tokens_output: int, p95_ms: float
) -> SafeString:
    return format_html(
        _WORK,
        url=url,
        node_id=node_id,
        region=region,
        model_id=model_id,
        tokens_input=count(tokens_input),
        tokens_output=count(tokens_output),
        p95=milliseconds(p95_ms),
    )


@lru_cache(maxsize=KEPT, typed=True)
def _payment(sentence: str, label: str, tone: str) -> SafeString:
    return format_html('<td><span title="{}">{}</span></td>', sentence, badge(label, tone=tone))
