"""The search finds sections of pages, best first, also without a script."""

import pytest
from django.test import Client

from jatevo.docs.book import every_page, rendered
from jatevo.docs.search import find


@pytest.mark.parametrize(
    ("query", "url"),
    [
        ("clock_skew", "/docs/api/errors/"),
        ("quarantine ends", "/docs/lifecycle/#how-a-quarantine-ends"),
        ("ollama", "/docs/runtimes/ollama/"),
        ("receipt fields", "/docs/receipts/#fields"),
        ("p95 by region", "/docs/figures/#p95-by-region"),
        ("OLLAMA_KEEP", "/docs/runtimes/ollama/#settings-that-matter"),
        ("port forward", "/docs/behind-nat/#forward-a-port"),
    ],
)
def test_what_people_look_for_is_among_the_first(query: str, url: str) -> None:
    assert url in [hit.url for hit in find(query)[:3]]


def test_every_page_is_found_by_its_title() -> None:
    for page in every_page():
        title = rendered(page).title
        assert page in [hit.page for hit in find(title)], title


def test_all_words_must_occur() -> None:
    assert find("heartbeat")
    assert not find("heartbeat xylophone")


@pytest.mark.parametrize("query", ["", " ", "???", "\x00", "(" * 50, ".*", "\\"])
def test_queries_without_words_find_nothing(query: str) -> None:
    assert find(query) == []


def test_matches_are_marked_in_the_snippet() -> None:
    (hit, *_) = find("clock_skew")
    assert [part.text.lower() for part in hit.snippet if part.marked][:2] == ["clock", "skew"]


@pytest.mark.django_db
def test_the_page_shows_hits_and_escapes_the_query() -> None:
    client = Client()
    assert "sections about “quarantine”" in client.get("/docs/search/", {"q": "quarantine"}).content.decode()
    html = client.get("/docs/search/", {"q": "<script>x</script> quarantine"}).content.decode()
    assert "<script>x" not in html
    assert "Nothing found" in client.get("/docs/search/", {"q": "xylophone"}).content.decode()
    assert client.get("/docs/search/", {"q": "a" * 5000}).status_code == 200
