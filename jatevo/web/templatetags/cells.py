"""Cells of tables. A table has hundreds, so each is one tag instead of half a dozen nodes of a template."""

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache

from django.template import Context, Node, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from jatevo.web.templatetags import money, numbers


def usd_cell(amount: Decimal | None, url: str = "") -> SafeString:
    """`{% usd_cell row.held_usd row.held_url %}`: an amount, which leads to `url` unless that is ''."""
    return _number_cell(money.usd(amount), url)


def count_cell(number: int, url: str = "") -> SafeString:
    """`{% count_cell row.receipts row.url %}`: a number, which leads to `url` unless that is ''."""
    return _number_cell(numbers.count(number), url)


def number_cells(numbers_and_urls: Iterable[tuple[Decimal | int | None, str]]) -> SafeString:
    """`{% number_cells row.cells %}`: a row of amounts and numbers, each with where it leads, '' for nowhere.

    An amount is a Decimal, or None where it is not known.
    """
    return mark_safe(  # noqa: S308  # the cells have escaped what they show
        "".join(
            count_cell(number, url) if isinstance(number, int) else usd_cell(number, url)
            for number, url in numbers_and_urls
        )
    )


@lru_cache(maxsize=4096, typed=True)  # a page polls for mostly the same cells
def _number_cell(shown: str, url: str) -> SafeString:
    if url:
        return format_html('<td class="num"><a class="link" href="{}">{}</a></td>', url, shown)
    return format_html('<td class="num">{}</td>', shown)


class CellsNode(Node):
    """Renders the partial of each column in the present context, which `{% include %}` would copy for each cell."""

    def __init__(self, columns: FilterExpression, template: FilterExpression) -> None:
        self.columns = columns
        self.template = template

    def render(self, context: Context) -> SafeString:
        engine = context.template.engine  # type: ignore[union-attr]  # it has one while it is rendered
        found = engine.get_template(self.template.resolve(context))
        partials = found.extra_data["partials"]
        columns = self.columns.resolve(context)
        return mark_safe("".join([partials[column.key].nodelist.render(context) for column in columns]))  # noqa: S308  # the partials have escaped what they show


def cells(parser: Parser, token: Token) -> CellsNode:
    """`{% cells columns "nodes/list/cells.html" %}`: for each column the partial with its `key` in that template."""
    words = token.split_contents()
    if len(words) != 3:
        raise TemplateSyntaxError("cells takes the columns and the template that has their partials")
    return CellsNode(parser.compile_filter(words[1]), parser.compile_filter(words[2]))
