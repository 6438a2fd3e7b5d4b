"""Django admin for earnings: rows are added with clear messages for what is wrong, and the ledger is only read."""

import re
from datetime import timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from earnings.models import Item, JtvoRate, Policy, Rate
from earnings.payouts import export, mark_ready
from jatevo.accounts.models import Org, Role, User
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import PASSWORD, make_user
from tests.earnings.payouts.earners import earner, wallet
from tests.earnings.rows import earn
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db
RATES = "/admin/earnings/rate/"
SOUND = {"model": "", "input_usd": "0.1", "output_usd": "0.4", "cache_hit_discount": "0.5"}


@pytest.fixture
def admin(db: None) -> User:
    return make_user(Role.ADMIN)


@pytest.fixture
def desk(admin: User) -> Browser:
    browser = Browser().hold_session(admin)
    browser.submit("/account/confirm/", {"identity-current": PASSWORD})
    return browser


@pytest.fixture
def accrued(db: None) -> None:
    """Something has been accrued, so that only the future can be set."""
    earn(NodeFactory.create(), timezone.now())


def holds_from(minutes: float = 60) -> dict[str, str]:
    at = timezone.now() + timedelta(minutes=minutes)
    return {"holds_from_0": f"{at:%Y-%m-%d}", "holds_from_1": f"{at:%H:%M:%S}"}


def add(desk: Browser, page: str = RATES, **fields: str) -> str:
    """The page's words if the row was refused, '' if it was added."""
    answer = desk.submit(f"{page}add/", fields)
    if answer.status_code == 302:
        return ""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def test_row_is_added_with_who_added_it(desk: Browser, admin: User, accrued: None) -> None:
    assert add(desk, **{**SOUND, "model": "  QWEN3:latest ", **holds_from()}) == ""
    rate = Rate.objects.get(model="qwen3")  # the form in which models are compared
    assert (rate.created_by, rate.output_usd) == (admin.email, Decimal("0.4"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_usd": "-0.1"}, "cannot be negative"),
        ({"output_usd": "10000.01"}, "at most $10,000 per million tokens"),
        ({"output_usd": "NaN"}, "Enter a number"),
        ({"input_usd": "0.0000001"}, "decimal"),
        ({"cache_hit_discount": "1.5"}, "share from 0 to 1"),
        ({"model": "a\\u202eb"}, "It "),
    ],
)
def test_wrong_values_are_refused_with_a_clear_message(
    desk: Browser, accrued: None, changes: dict[str, str], words: str
) -> None:
    changes = {name: value.replace("\\u202e", "\u202e") for name, value in changes.items()}
    before = Rate.objects.count()
    assert words in add(desk, **{**SOUND, **holds_from(), **changes})
    assert Rate.objects.count() == before


def test_past_date_is_refused_once_something_is_accrued(desk: Browser, accrued: None) -> None:
    for minutes in (-60, 9):
        assert "at least 10 minutes from now" in add(desk, **SOUND, **holds_from(minutes))
    assert add(desk, **SOUND, **holds_from(11)) == ""


def test_default_before_all_others_prices_what_waits(desk: Browser, accrued: None) -> None:
    first = Rate.objects.get(model="").holds_from
    before = {"holds_from_0": f"{first - timedelta(days=1):%Y-%m-%d}", "holds_from_1": "00:00:00"}
    assert "at least 10 minutes from now" in add(desk, **{**SOUND, "model": "qwen3"}, **before)
    assert add(desk, **SOUND, **before) == ""


def test_new_network_sets_rates_from_any_date(desk: Browser) -> None:
    assert not Item.objects.exists()
    assert add(desk, **SOUND, **holds_from(-60 * 24 * 30)) == ""


def test_two_rates_from_one_date_are_refused(desk: Browser, accrued: None) -> None:
    moment = holds_from()
    assert add(desk, **{**SOUND, "model": "qwen3"}, **moment) == ""
    assert "already has a rate that holds from that moment" in add(
        desk, **{**SOUND, "model": "Qwen3"}, **moment
    )


def test_date_that_comes_too_close_while_the_form_is_checked_saves_nothing(
    desk: Browser, accrued: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earnings.admin.LEAST_NOTICE_MINUTES", 5)  # the form is content, the database is not
    answer = desk.submit(f"{RATES}add/", {**SOUND, **holds_from(7)})
    assert "Nothing was saved: the date is too close" in text_of(desk.get(answer["Location"]))
    assert Rate.objects.count() == 1


def test_edit_is_a_new_row_like_the_old_one(desk: Browser, accrued: None) -> None:
    add(desk, **{**SOUND, "model": "qwen3"}, **holds_from())
    rate = Rate.objects.get(model="qwen3")
    page = text_of(desk.get(f"{RATES}{rate.pk}/change/"))
    assert 'name="input_usd"' not in page
    found = re.search(r'href="([^"]+)">Add a row like this', page)
    assert found
    link = found[1].replace("&amp;", "&")
    assert parse_qs(urlsplit(link).query)["output_usd"] == ["0.400000"]
    form = text_of(desk.get(link))
    assert 'value="qwen3"' in form and 'value="0.100000"' in form
    answer = desk.post(f"{RATES}{rate.pk}/change/", {**SOUND, **holds_from()}, headers=desk.csrf)
    assert answer.status_code == 403


def test_row_is_deleted_only_before_its_date(desk: Browser, accrued: None) -> None:
    add(desk, **{**SOUND, "model": "qwen3"}, **holds_from())
    future, past = Rate.objects.get(model="qwen3"), Rate.objects.get(model="")
    assert desk.submit(f"{RATES}{future.pk}/delete/", {"post": "yes"}).status_code == 302
    assert desk.get(f"{RATES}{past.pk}/delete/").status_code == 403
    assert list(Rate.objects.all()) == [past]


def test_policy_is_checked_as_a_whole(desk: Browser, accrued: None) -> None:
    policy = {
        "threshold_usd": "10",
        "hold_days": "0",
        "schedule": "weekly",
        "schedule_day": "7",
        "minimum_reputation": "50",
    }
    page = "/admin/earnings/policy/"
    assert "from 0 (Monday) to 6 (Sunday)" in add(desk, page, **policy, **holds_from())
    assert "less than or equal to 100" in add(
        desk, page, **{**policy, "schedule_day": "6", "minimum_reputation": "101"}, **holds_from()
    )
    assert add(desk, page, **{**policy, "schedule_day": "6"}, **holds_from()) == ""
    assert Policy.objects.count() == 2


def test_estimate_of_jtvo_names_its_source(desk: Browser) -> None:
    page = "/admin/earnings/jtvorate/"
    assert "required" in add(desk, page, jtvo_per_usd="12", source="", **holds_from())
    assert "greater than 0" in add(desk, page, jtvo_per_usd="0", source="x", **holds_from())
    assert add(desk, page, jtvo_per_usd="12", source="market of 1 May", **holds_from()) == ""
    assert JtvoRate.objects.get().source == "market of 1 May"


def test_adding_asks_for_the_password_again(admin: User, accrued: None) -> None:
    browser = Browser().hold_session(admin)
    answer = browser.submit(f"{RATES}add/", {**SOUND, **holds_from()})
    assert answer.status_code == 403 and "Confirm and continue" in answer.content.decode()
    assert Rate.objects.count() == 1


def test_ledger_payouts_and_wallets_are_only_read(desk: Browser, admin: User) -> None:
    org = Org.objects.create(name="Alpine Compute")
    wallet(org)
    node = earner(org, "50")
    mark_ready(nodes=[node.pk], by=admin, at=timezone.now(), reason="November")
    export(by=admin, at=timezone.now(), reason="November")
    for model in ("movement", "payout", "payment", "exportfile", "wallet"):
        page = f"/admin/earnings/{model}/"
        listed = text_of(desk.get(page))
        found = re.search(rf'href="({page}[^"]+/change/)"', listed)
        assert found, model
        assert 'name="_save"' not in text_of(desk.get(found[1]))
        assert desk.get(f"{page}add/").status_code == 403
        assert desk.post(found[1], {}, headers=desk.csrf).status_code == 403
        assert text_of(desk.get(f"{page}?q=Alpine"))


def test_nobody_else_gets_there(accrued: None) -> None:
    org = Org.objects.create(name="Alpine Compute")
    for role, owner in ((Role.OPERATOR, org), (Role.VIEWER, None)):
        browser = Browser().hold_session(make_user(role, org=owner))
        for model in ("rate", "movement", "wallet", "payout"):
            assert browser.get(f"/admin/earnings/{model}/").status_code in (302, 403)
