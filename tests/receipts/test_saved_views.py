"""Saved views of the receipts page: a person's own, by name, at most twenty."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import IntegrityError, transaction

from jatevo.accounts.models import User
from jatevo.accounts.saved_views import MOST_VIEWS
from receipts.models import ReceiptView
from tests.accounts.browser import Browser, text_of
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 5, 0, 30, tzinfo=UTC)


@pytest.fixture
def person(operator: Browser) -> User:
    return User.objects.get()


def save(browser: Browser, name: str, query: str = "") -> str:
    """The page after saving."""
    answer = browser.submit_to("/receipts/~views/", {"name": name, "query": query}, page="/receipts/")
    assert answer.status_code == 302, answer.content
    return text_of(browser.get(answer["Location"]))


def links(page: str) -> dict[str, str]:
    """The query of each saved view in the menu."""
    menu = page.partition('aria-label="Saved views"')[2].partition("</ul>")[0]
    found = re.findall(r'href="/receipts/\??([^"]*)"[^>]*>([^<]*)</a>', menu)
    return {html.unescape(name): html.unescape(query) for query, name in found}


def test_a_search_is_saved_opened_renamed_and_deleted(operator: Browser, person: User) -> None:
    page = save(operator, " Failed  in\teu ", "outcome=error&region=eu&cursor=abc&page=2&node_id=")
    assert "View “Failed in eu” saved." in page
    assert links(page) == {"Failed in eu": "region=eu&outcome=error"}
    assert 'name="region" value="eu"' in page  # the search stays
    assert re.search(r'aria-current="page">Failed in eu<', page)
    view = ReceiptView.objects.get()
    answer = operator.submit_to(
        f"/receipts/~views/{view.pk}/", {"name": "Europe", "query": "region=us"}, page="/receipts/"
    )
    assert answer["Location"] == "/receipts/?region=us"
    page = text_of(operator.get(answer["Location"]))
    assert links(page) == {"Europe": "region=eu&outcome=error"}
    assert not re.search(r'aria-current="page">Europe<', page)
    operator.submit_to(f"/receipts/~views/{view.pk}/delete/", page="/receipts/")
    assert links(text_of(operator.get("/receipts/"))) == {}


def test_a_preset_moves_with_the_day_and_other_times_stay(operator: Browser, person: User) -> None:
    User.objects.update(time_zone="Asia/Shanghai")
    operator.hold_session(User.objects.get(), at=NOW)
    with time_machine.travel(NOW, tick=False):
        save(operator, "week", "from=2026-02-27&to=2026-03-05&region=eu")
        save(operator, "incident", "from=2026-03-01&to=2026-03-02")
        save(operator, "since", "from=1772625600")
        page = save(operator, "always", "region=eu")
    day_in_shanghai = {
        "week": "region=eu&from=2026-02-27&to=2026-03-05",
        "incident": "from=2026-03-01T00%3A00%3A00%2B08%3A00&to=2026-03-03T00%3A00%3A00%2B08%3A00",
        "since": "from=2026-03-04T20%3A00%3A00%2B08%3A00",
        "always": "region=eu",
    }
    assert links(page) == dict(sorted(day_in_shanghai.items()))
    with time_machine.travel(NOW + timedelta(days=10), tick=False):
        operator.hold_session(User.objects.get())
        later = links(text_of(operator.get("/receipts/")))
    assert later == {**day_in_shanghai, "week": "region=eu&from=2026-03-09&to=2026-03-15"}


def test_a_name_is_used_once(operator: Browser, person: User) -> None:
    save(operator, "mine", "region=eu")
    assert links(save(operator, "mine", "region=us")) == {"mine": "region=us"}
    save(operator, "other")
    other = ReceiptView.objects.get(name="other")
    answer = operator.submit_to(f"/receipts/~views/{other.pk}/", {"name": "mine"}, page="/receipts/")
    page = text_of(operator.get(answer["Location"]))
    assert "You already have a view “mine”." in page
    assert links(page) == {"mine": "region=us", "other": ""}
    operator.submit_to(f"/receipts/~views/{other.pk}/", {"name": "other"}, page="/receipts/")
    with pytest.raises(IntegrityError), transaction.atomic():
        ReceiptView.objects.create(user=person, name="mine")


def test_there_are_at_most_twenty(operator: Browser, person: User) -> None:
    for number in range(MOST_VIEWS):
        ReceiptView.objects.create(user=person, name=f"view {number}")
    page = save(operator, "one more")
    assert f"You already have {MOST_VIEWS} saved views. Delete one first." in page
    assert ReceiptView.objects.count() == MOST_VIEWS
    assert "saved." in save(operator, "view 3", "region=eu")  # replaced


@pytest.mark.parametrize(
    ("name", "query", "words"),
    [
        ("", "region=eu", "Give the view a name of at most 60 characters."),
        ("x" * 61, "", "Give the view a name of at most 60 characters."),
        ("a\x00b", "", "Null characters are not allowed."),
        ("odd", "from=tomorrow", "Correct the search first."),
        ("long", f"region={'ü' * 32}&model_id={'ü' * 128}&request_id={'ü' * 128}", "too long to save"),
    ],
)
def test_what_cannot_be_saved_is_said(operator: Browser, name: str, query: str, words: str) -> None:
    assert words in save(operator, name, query)
    assert not ReceiptView.objects.exists()


def test_nobody_sees_renames_or_deletes_anothers_views(operator: Browser, person: User) -> None:
    save(operator, "secret plan", "region=eu")
    view = ReceiptView.objects.get()
    rival = Browser().hold_session(UserFactory.create(org=person.org))
    assert "secret plan" not in text_of(rival.get("/receipts/"))
    for path in (f"/receipts/~views/{view.pk}/", f"/receipts/~views/{view.pk}/delete/"):
        answer = rival.submit_to(path, {"name": "taken"}, page="/receipts/")
        page = text_of(rival.get(answer["Location"]))
        assert "deleted" not in page
        assert "taken" not in page
    view.refresh_from_db()
    assert (view.name, view.user) == ("secret plan", person)


def test_saving_needs_the_csrf_token_and_a_login(operator: Browser) -> None:
    for path in ("/receipts/~views/", "/receipts/~views/1/", "/receipts/~views/1/delete/"):
        assert operator.post(path, {"name": "x"}).status_code == 403
        assert operator.get(path).status_code == 405
        assert Browser().get(path).status_code in (302, 405)
