"""Search over the sections of all pages. The index is built on first use and kept by the process."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from jatevo.docs.book import DocPage, every_page, rendered

MOST_CHARACTERS = 100
MOST_WORDS = 8
MOST_HITS = 30
SNIPPET_CHARACTERS = 180
_TITLE_WEIGHT, _HEADING_WEIGHT, _PREFIX_WEIGHT = 6.0, 4.0, 0.5
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class SnippetPart:
    """A piece of a snippet. `marked` if it is a match."""

    text: str
    marked: bool


@dataclass(frozen=True)
class Hit:
    """A section in which every word of the query occurs."""

    page: DocPage
    title: str
    heading: str
    url: str
    snippet: tuple[SnippetPart, ...]


@dataclass(frozen=True)
class _Entry:
    page: DocPage
    title: str
    heading: str
    anchor: str
    text: str
    words: Mapping[str, float]  # word → its weight in this section


def find(query: str) -> list[Hit]:
    """The best hits first. A word also matches longer words that begin with it."""
    wanted = _words(query)[:MOST_WORDS]
    entries = _index()
    weights = [[_weight(word, entry) for entry in entries] for word in wanted]
    # words that few sections have say more (inverse document frequency)
    rarity = [math.log(1 + len(entries) / (1 + sum(map(bool, each)))) for each in weights]
    scores = [
        (sum(weight * rare for weight, rare in zip(each, rarity, strict=True)), -at, entry)
        for at, (entry, *each) in enumerate(zip(entries, *weights, strict=True))
        if each and all(each)
    ]
    best = sorted(scores, key=lambda score: score[:2], reverse=True)[:MOST_HITS]
    return [_hit(entry, wanted) for _, _, entry in best]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _weight(word: str, entry: _Entry) -> float:
    exact = entry.words.get(word, 0.0)
    longer = max((weight for each, weight in entry.words.items() if each.startswith(word)), default=0.0)
    return max(exact, longer * _PREFIX_WEIGHT)


@cache
def _index() -> list[_Entry]:
    return [entry for page in every_page() for entry in _entries(page)]


def _entries(page: DocPage) -> Iterable[_Entry]:
    shown = rendered(page)
    for section in shown.sections:
        heading = section.heading.text if section.heading else ""
        anchor = section.heading.anchor if section.heading else ""
        counts = Counter(_words(section.text))
        weights = Counter({word: 1 + math.log(count) for word, count in counts.items()})
        weights.update(dict.fromkeys(_words(heading), _HEADING_WEIGHT))
        # the title counts fully for the beginning of the page, and a little for the rest of it
        weights.update(dict.fromkeys(_words(shown.title), 1.0 if heading else _TITLE_WEIGHT))
        yield _Entry(page, shown.title, heading, anchor, " ".join(section.text.split()), weights)


def _hit(entry: _Entry, wanted: list[str]) -> Hit:
    url = f"{entry.page.url}#{entry.anchor}" if entry.anchor else entry.page.url
    return Hit(entry.page, entry.title, entry.heading, url, tuple(_snippet(entry.text, wanted)))


def _snippet(text: str, wanted: list[str]) -> Iterable[SnippetPart]:
    """The text around the first match, with every match marked."""
    pattern = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(wanted)})[a-z0-9]*", re.IGNORECASE)
    first = pattern.search(text)
    start = max(0, (first.start() if first else 0) - SNIPPET_CHARACTERS // 3)
    shown = text[start : start + SNIPPET_CHARACTERS]
    if start:
        shown = "… " + shown.partition(" ")[2]
    if start + SNIPPET_CHARACTERS < len(text):
        shown = shown.rpartition(" ")[0] + " …"
    at = 0
    for found in pattern.finditer(shown):
        yield SnippetPart(shown[at : found.start()], marked=False)
        yield SnippetPart(found[0], marked=True)
        at = found.end()
    yield SnippetPart(shown[at:], marked=False)
