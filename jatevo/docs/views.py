"""The pages of the Docs, their Markdown, the search, and /llms.txt. Everybody may read them."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from jatevo.docs import book
from jatevo.docs.book import CHAPTERS, DocPage
from jatevo.docs.search import MOST_CHARACTERS, find
from jatevo.web.fragments import page_or_fragment
from jatevo.web.json import dump
from receipts.openapi import RECEIPT

_MARKDOWN = "text/markdown; charset=utf-8"
_DEEPEST_IN_CONTENTS = 3


@require_safe
def page(request: HttpRequest, slug: str) -> HttpResponse:
    """One page, with the menu, its contents, and the pages before and after."""
    found = _page(slug)
    if request.path != found.url:
        return redirect(found.url, permanent=True)
    rendered = book.rendered(found)
    context = {
        "doc": found,
        "rendered": rendered,
        "contents": [each for each in rendered.headings if each.level <= _DEEPEST_IN_CONTENTS],
        "chapters": CHAPTERS,
        "neighbours": book.neighbours(found),
    }
    return render(request, "docs/page.html", context)


@require_safe
def markdown(request: HttpRequest, slug: str) -> HttpResponse:
    """The same page as Markdown. Its links are relative, so they hold at one address only."""
    found = _page(slug)
    if request.path != found.markdown_url:
        return redirect(found.markdown_url, permanent=True)
    return HttpResponse(book.source_of(found), content_type=_MARKDOWN)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """What the pages say about the words in `q`."""
    query = request.GET.get("q", "").strip()[:MOST_CHARACTERS]
    context = {"query": query, "hits": find(query), "chapters": CHAPTERS}
    return page_or_fragment(request, "docs/search.html", context, fragments={"doc-hits": "hits"})


@require_safe
def receipt_schema(request: HttpRequest) -> HttpResponse:
    """The JSON Schema of a receipt."""
    url = f"{settings.BASE_URL}{request.path}"
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": url, **RECEIPT}
    return HttpResponse(dump(schema), content_type="application/schema+json")


@require_safe
def llms_txt(request: HttpRequest) -> HttpResponse:
    """The index of all pages for language models (llmstxt.org)."""
    lines = [
        "# Jatevo console",
        "",
        "> The operator and network console of Jatevo, a decentralised AI inference network: nodes, receipts and"
        " earnings, the agent that runs a node, and an HTTP API for agents, validators, gateways and scripts.",
        "",
        f"The API is described in OpenAPI 3.1 at {settings.BASE_URL}/v1/openapi.json.",
    ]
    for chapter in CHAPTERS:
        lines += ["", f"## {chapter.title}", ""]
        lines += [
            f"- [{each.label}]({settings.BASE_URL}{each.markdown_url}): {book.rendered(each).lead}"
            for each in chapter.pages
        ]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")


def _page(slug: str) -> DocPage:
    found = book.find_page(slug)
    if found is None:
        raise Http404
    return found
