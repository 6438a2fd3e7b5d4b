"""The pages of the Docs, in their order, and where the text of each comes from.

A page is a Markdown file of the repository, or is written from the OpenAPI document (`reference.py`). `{{ name }}` in it stands for a value of this console (`values.py`). Links between pages are
relative, with `.md`, so that they also work in the repository and between the served `.md` files.
"""

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path

from django.conf import settings
from django.urls import reverse

from jatevo.docs import reference
from jatevo.docs.markdown import Rendered, render
from jatevo.docs.reference import ReferencePage
from jatevo.docs.values import value

CONTENT = Path(__file__).parent / "content"
_PLACEHOLDER = re.compile(r"\{\{ (\w+) \}\}")


@dataclass(frozen=True)
class DocPage:
    """A page: its place under /docs/, its name in the menu, and its source.

    `file` is relative to the repository. A page without one is `written` from the code.
    """

    slug: str
    label: str
    file: str = ""
    written: Callable[[], str] | None = None

    @property
    def url(self) -> str:
        folder = self.slug.removesuffix("index").rstrip("/")
        return reverse("docs:page", args=[folder]) if folder else reverse("docs:home")

    @property
    def markdown_url(self) -> str:
        return reverse("docs:markdown", args=[self.slug])

    @property
    def edit_url(self) -> str:
        """Where its source can be edited. Empty without JATEVO_DOCS_EDIT_URL, and for what code writes."""
        if not (self.file and settings.DOCS_EDIT_URL):
            return ""
        return str(settings.DOCS_EDIT_URL).replace("{path}", self.file)


@dataclass(frozen=True)
class Chapter:
    """A group of pages in the menu."""

    title: str
    pages: tuple[DocPage, ...]


@dataclass(frozen=True)
class Neighbours:
    """The pages before and after one. None at the ends."""

    before: DocPage | None
    after: DocPage | None


def _own(slug: str, label: str) -> DocPage:
    return DocPage(slug, label, f"jatevo/docs/content/{slug}.md")


def _shared(slug: str, label: str, file: str = "") -> DocPage:
    """A page of docs/, which developers read in the repository too."""
    return DocPage(slug, label, f"docs/{file or slug}.md")


def _reference(page: ReferencePage) -> DocPage:
    return DocPage(page.slug, page.title, written=partial(reference.written, page))


CHAPTERS: tuple[Chapter, ...] = (
    Chapter("Start here", (_own("index", "Introduction"), _own("quick-start", "Quick start"))),
    Chapter(
        "Run a node",
        (
            _own("agent", "The agent"),
            _own("runtimes/index", "Runtimes"),
            _own("runtimes/ollama", "Ollama"),
            _own("runtimes/vllm", "vLLM"),
            _own("runtimes/tgi", "TGI"),
            _own("runtimes/tensorrt-llm", "TensorRT-LLM"),
            _own("behind-nat", "Behind NAT"),
            _own("troubleshooting", "Troubleshooting"),
        ),
    ),
    Chapter(
        "How it works",
        (
            _own("lifecycle", "Node lifecycle"),
            _own("reputation", "Reputation"),
            _own("qos", "Quality of service"),
            _own("figures", "Figures"),
            _shared("earnings", "Earnings"),
            _shared("glossary", "Glossary"),
        ),
    ),
    Chapter("Receipts", (_own("receipts", "Receipts"), _own("verify", "Verify a receipt"))),
    Chapter(
        "API",
        (
            _own("api/index", "Overview"),
            _own("api/signing", "Signed requests"),
            _own("api/errors", "Errors"),
            *(_reference(each) for each in reference.PAGES),
        ),
    ),
    Chapter(
        "Runbooks",
        (
            _shared("runbooks/index", "All runbooks", "runbooks/README"),
            _shared("runbooks/node-stuck-in-pending", "Node stuck in Pending"),
            _shared("runbooks/node-in-quarantine", "Node in Quarantine"),
            _shared("runbooks/incident", "Declaring an incident"),
            _shared("runbooks/earnings", "Earnings"),
            _shared("runbooks/clickhouse-down", "ClickHouse is down"),
            _shared("runbooks/redis-down", "Redis is down"),
            _shared("runbooks/postgresql-down", "PostgreSQL is down"),
            _shared("runbooks/master-key", "Change of the master key"),
            _shared("runbooks/restore-from-backup", "Restore from a backup"),
        ),
    ),
)


def every_page() -> list[DocPage]:
    """All pages in reading order."""
    return [page for chapter in CHAPTERS for page in chapter.pages]


def find_page(slug: str) -> DocPage | None:
    """The page at this place. A folder's page is its `index`, which the repository calls README."""
    pages = _by_slug()
    return pages.get(slug) or pages.get(f"{slug}/index") or pages.get(slug.replace("README", "index"))


def neighbours(page: DocPage) -> Neighbours:
    pages = every_page()
    at = pages.index(page)
    return Neighbours(pages[at - 1] if at else None, pages[at + 1] if at + 1 < len(pages) else None)


def source_of(page: DocPage) -> str:
    """The page as Markdown with this console's values in place. Raises KeyError for an unknown value."""
    text = page.written() if page.written else (settings.BASE_DIR / page.file).read_text()
    return _PLACEHOLDER.sub(lambda found: value(found[1]), text)


def rendered(page: DocPage) -> Rendered:
    """The page as HTML. Kept until its source is another."""
    return _rendered(page, source_of(page))


def resolve(page: DocPage, target: str) -> str | None:
    """The address of a link on the page. None if it leads to a file that is no page."""
    if target.startswith(("/", "#")):
        return target
    path, _, anchor = target.partition("#")
    if not path.endswith(".md"):
        return None
    slug = posixpath.normpath(posixpath.join(posixpath.dirname(page.slug), path.removesuffix(".md")))
    found = find_page(slug)
    return (found.url + (f"#{anchor}" if anchor else "")) if found else None


@lru_cache(maxsize=256)
def _rendered(page: DocPage, source: str) -> Rendered:
    return render(source, link=lambda target: resolve(page, target))


@cache
def _by_slug() -> dict[str, DocPage]:
    return {page.slug: page for page in every_page()}
