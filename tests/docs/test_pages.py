"""Every page of the Docs is there for everybody, whole, and linked correctly."""

import re
from html import unescape
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings

from jatevo.docs import book
from jatevo.docs.book import CONTENT, DocPage, every_page, rendered, source_of
from jatevo.docs.values import every_value
from tests.accounts.browser import Browser, text_of

PAGES = [pytest.param(page, id=page.slug) for page in every_page()]
OWN = [pytest.param(page, id=page.slug) for page in every_page() if page.file.startswith("jatevo/")]
LINK = re.compile(r'<a href="([^"]+)"')


@pytest.mark.django_db
@pytest.mark.parametrize("doc", PAGES)
def test_a_stranger_can_read_every_page(doc: DocPage) -> None:
    answer = Client().get(doc.url)
    assert answer.status_code == 200
    html = answer.content.decode()
    assert f"<title>{rendered(doc).title}" in unescape(html)
    assert "{{" not in html
    assert html.count("<h1") == 1


@pytest.mark.django_db
@pytest.mark.parametrize("doc", PAGES)
def test_every_page_is_also_served_as_markdown(doc: DocPage) -> None:
    answer = Client().get(doc.markdown_url)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/markdown; charset=utf-8"
    assert answer.content.decode() == source_of(doc)
    assert answer.content.startswith(b"# ")


@pytest.mark.parametrize("doc", PAGES)
def test_links_lead_to_pages_and_headings_that_exist(doc: DocPage) -> None:
    by_url = {each.url: each for each in every_page()}
    for link in map(unescape, LINK.findall(rendered(doc).html)):
        path, _, anchor = link.partition("#")
        target = doc if not path else by_url.get(path)
        if target and anchor:
            assert anchor in {heading.anchor for heading in rendered(target).headings}, link


@pytest.mark.parametrize("doc", OWN)
def test_pages_of_the_docs_link_to_no_file_that_is_no_page(doc: DocPage) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (settings.BASE_DIR / doc.file).read_text()):
        if not re.match(r"[a-z]+:|/|#|\{\{", target):
            assert book.resolve(doc, target), target


def test_local_links_of_the_docs_are_routes_of_the_console(db: None) -> None:
    wanted = {
        unescape(link).partition("#")[0]
        for page in every_page()
        for link in LINK.findall(rendered(page).html)
        if link.startswith("/")
    }
    client = Client()
    missing = [path for path in sorted(wanted) if client.get(path).status_code in (404, 405, 500)]
    assert not missing


def test_every_file_is_a_page_and_every_page_is_in_the_menu_once() -> None:
    files = {f"jatevo/docs/content/{path.relative_to(CONTENT)}" for path in CONTENT.rglob("*.md")}
    listed = [page.file for page in every_page() if page.file]
    assert files <= set(listed)
    assert len(listed) == len(set(listed))
    assert len({page.slug for page in every_page()}) == len(every_page())


def test_every_value_is_used_by_a_page_and_every_used_one_exists() -> None:
    used = set()
    for page in every_page():
        if page.file:
            used |= set(re.findall(r"\{\{ (\w+) \}\}", (settings.BASE_DIR / page.file).read_text()))
    assert used == set(every_value())


def test_previous_and_next_lead_through_all_pages() -> None:
    pages = every_page()
    assert book.neighbours(pages[0]).before is None
    walked = [pages[0]]
    while (after := book.neighbours(walked[-1]).after) is not None:
        assert book.neighbours(after).before == walked[-1]
        walked.append(after)
    assert walked == pages


@pytest.mark.django_db
def test_a_page_shows_its_neighbours_and_its_contents() -> None:
    html = text_of(Browser().get("/docs/quick-start/"))
    assert re.search(r'href="/docs/"[^>]*rel="prev"', html)
    assert re.search(r'rel="next"', html)
    assert 'href="#4-see-it-working"' in html


@pytest.mark.django_db
def test_thresholds_are_those_of_this_console() -> None:
    assert "5 minutes" in Client().get("/docs/lifecycle.md").content.decode()
    with override_settings(NODE_OFFLINE_AFTER_SECONDS=90, P95_TARGETS_MS={"ollama": 4321.0}):
        text = Client().get("/docs/lifecycle/").content.decode()
    assert "90 seconds" in text
    assert "4,321 ms" in text


@pytest.mark.django_db
@pytest.mark.parametrize("doc", PAGES)
def test_every_page_is_markdown_at_its_address_with_md(doc: DocPage) -> None:
    """As the introduction says."""
    answer = Client().get(f"{doc.url.removesuffix('/')}.md", follow=True)
    assert answer.content.decode() == source_of(doc)


@pytest.mark.django_db
def test_numbers_of_the_lifecycle_are_written_from_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.rules.lifecycle.AUDITS_TO_CLEAR", 7)
    monkeypatch.setattr("nodes.rules.lifecycle.PROBE_FAILURES_TO_QUARANTINE", 8)
    client = Client()
    assert "7 passed audits in a row end" in client.get("/docs/troubleshooting.md").content.decode()
    assert re.search(r"counts as a failed probe: 8\s", client.get("/docs/behind-nat.md").content.decode())


def test_reasons_of_the_lifecycle_are_named_as_pages_show_them() -> None:
    found = book.find_page("lifecycle")
    assert found
    text = source_of(found)
    assert "Too slow (SLO breached)" in text and "slo_breached" not in text


@pytest.mark.django_db
def test_pages_have_an_edit_link_only_by_setting() -> None:
    client = Client()
    assert "Edit this page" not in client.get("/docs/lifecycle/").content.decode()
    with override_settings(DOCS_EDIT_URL="https://git.example/edit/main/{path}"):
        html = client.get("/docs/lifecycle/").content.decode()
        assert 'href="https://git.example/edit/main/jatevo/docs/content/lifecycle.md"' in html
        shared = client.get("/docs/runbooks/incident/").content.decode()
        assert 'href="https://git.example/edit/main/docs/runbooks/incident.md"' in shared


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/docs/index/", "/docs/"),
        ("/docs/api/index/", "/docs/api/"),
        ("/docs/runbooks/README/", "/docs/runbooks/"),
        ("/docs.md", "/docs/index.md"),
        ("/docs/api.md", "/docs/api/index.md"),
        ("/docs/runtimes.md", "/docs/runtimes/index.md"),
        ("/docs/runbooks/README.md", "/docs/runbooks/index.md"),
    ],
)
def test_a_page_has_one_address(path: str, leads_to: str) -> None:
    answer = Client().get(path)
    assert (answer.status_code, answer["Location"]) == (301, leads_to)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/docs/nothing/", "/docs/nothing.md", "/docs/../settings.md", "/docs/..%2fsettings.md"]
)
def test_what_is_no_page_is_not_found(path: str) -> None:
    assert Client().get(path).status_code == 404


@pytest.mark.django_db
def test_llms_txt_lists_every_page_with_its_markdown() -> None:
    text = Client().get("/llms.txt").content.decode()
    assert text.startswith("# Jatevo")
    for page in every_page():
        assert f"]({settings.BASE_URL}{page.markdown_url}): {rendered(page).lead}" in text


@pytest.mark.django_db
def test_a_page_costs_the_query_of_the_menu_and_no_other(django_assert_num_queries: Any) -> None:
    client = Client()
    with django_assert_num_queries(1):
        assert client.get("/docs/lifecycle/").status_code == 200
