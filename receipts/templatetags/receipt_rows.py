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
    '<th scope="row" class="pin">'
    '<a class="link block max-w-25 truncate font-mono 2xl:max-w-56" data-open id="open-{id}" href="{url}"'
    ' title="{request_id}" hx-get="{url}" hx-target="#drawer-body">{request_id}</a></th>'
)
_WORK: Final = (
    '<td><a class="link{node_cut}" href="{url}"{node_title}>{node_id}</a></td>'
    '<td>{region}</td><td>{model}</td><td class="num">{tokens_input} / {tokens_output}</td><td class="num">{p95}</td>'
)
_CUT: Final = '<span class="{cut}" title="{text}">{text}</span>'
# Text that is cut is painted as a part of its own, which takes a fifth of the time that scrolling has. Up to so many
# characters it is not cut.
_NODE_FITS, _REGION_FITS, _MODEL_FITS = 18, 14, 16

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
    is_long = len(node_id) > _NODE_FITS
    return format_html(
        _WORK,
        url=url,
        node_id=node_id,
        node_cut=" block max-w-37 truncate 2xl:max-w-56" if is_long else "",
        node_title=format_html(' title="{}"', node_id) if is_long else "",
        region=_cut(region, _REGION_FITS, "block max-w-24 truncate 2xl:max-w-40"),
        model=_cut(model_id, _MODEL_FITS, "block max-w-31.5 truncate 2xl:max-w-44"),
        tokens_input=count(tokens_input),
        tokens_output=count(tokens_output),
        p95=milliseconds(p95_ms),
    )


def _cut(text: str, fits: int, cut: str) -> str:
    return format_html(_CUT, text=text, cut=cut) if len(text) > fits else text


@lru_cache(maxsize=KEPT, typed=True)
def _payment(sentence: str, label: str, tone: str) -> SafeString:
    return format_html('<td><span title="{}">{}</span></td>', sentence, badge(label, tone=tone))
