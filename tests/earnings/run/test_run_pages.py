"""/earnings/run/: from who is eligible to the file, in the browser without JavaScript."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from earnings.models import ExportFile, Payment, Payout, Wallet
from earnings.payouts import confirm, export, mark_ready, preview_of, return_payment, withdraw
from earnings.run import acts
from jatevo.accounts.models import Org, User
from jatevo.accounts.step_up import COOKIE
from jatevo.audit.models import AuditEvent
from nodes.actions import suspect
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import PASSWORD
from tests.earnings.payouts.earners import ADDRESSES, earner, wallet
from tests.earnings.run.conftest import proven

pytestmark = pytest.mark.django_db
RUN = "/earnings/run/"
OPEN = f"{RUN}?part=open"


def mark(node: Any, by: User) -> Payout:
    return mark_ready(nodes=[node.pk], by=by, at=timezone.now(), reason="November").payouts[0]


def plain(answer: Any) -> str:
    text = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return " ".join(text.replace("&#x27;", "'").split())


def test_table_says_who_is_eligible_and_why_others_are_not(org: Org, desk: Browser) -> None:
    wallet(org)
    earner(org, "50", id="good")
    earner(org, "4", id="poor", reputation=12)
    page = plain(desk.get(RUN))
    assert "Eligible $50.00 1 node" in page and "Not eligible $4.00 1 node" in page
    assert "Payout threshold: $4.00 of $10.00; $6.00 to go." in page
    assert "Minimum reputation: R 12; at least 50 is needed." in page


def test_filters_are_in_the_address_and_strict(org: Org, desk: Browser) -> None:
    wallet(org)
    earner(org, "50", id="good")
    earner(org, "4", id="poor")
    other = Org.objects.create(name="Rival")
    earner(other, "60", id="foreign")

    def shown(query: str) -> set[str]:
        return set(re.findall(r'id="candidate-([a-z]+)"', text_of(desk.get(RUN + query))))

    assert shown("?show=eligible") == {"good"}
    assert shown("?show=not") == {"poor", "foreign"}
    assert shown(f"?org={other.pk}&q=") == {"foreign"}
    assert shown("?q=OO") == {"good", "poor"}
    for wrong in ("?show=maybe", "?org=x", "?colour=red", "?q=a&q=b", "?q=%00"):
        page = desk.get(RUN + wrong)
        assert page.status_code == 200 and 'role="alert"' in page.content.decode(), wrong


def test_htmx_gets_the_table_alone(org: Org, desk: Browser) -> None:
    part = desk.get(RUN, headers={"HX-Request": "true", "HX-Target": "run-found"}).content.decode()
    assert "<html" not in part and "Nothing to pay" in part


def test_selected_nodes_are_previewed_and_marked_with_a_reason(org: Org, desk: Browser) -> None:
    wallet(org)
    earner(org, "50", id="good")
    earner(org, "4", id="poor")
    asked = desk.submit_to(f"{RUN}preview/", {"node": ["good", "poor", "good", "no\x00de"]}, page=RUN)
    page = plain(asked)
    assert "Mark 2 nodes payout-ready" in page and ADDRESSES[0] in page
    assert not Payout.objects.exists()
    sent = {"node": ["good", "poor"], "reason": "November run"}
    done = plain(desk.submit_to(f"{RUN}mark/", sent, page=f"{RUN}preview/?node=good"))  # type: ignore[arg-type]
    assert "1 node marked" in done and "Not done poor" in done
    assert Payout.objects.get().reason == "November run"


def test_all_that_the_filters_leave_can_be_marked_at_once(org: Org, desk: Browser) -> None:
    wallet(org)
    for name in ("one", "two", "other"):
        earner(org, "50", id=name)
    page = desk.submit_to(f"{RUN}preview/", {"all": "1", "query": "q=o&show="}, page=f"{RUN}?q=o")
    assert re.findall(r'name="node" value="(\w+)"', page.content.decode()) == ["one", "other", "two"]


def test_reason_is_required(org: Org, desk: Browser) -> None:
    wallet(org)
    earner(org, "50", id="good")
    answer = desk.submit_to(f"{RUN}mark/", {"node": "good", "reason": " "}, page=f"{RUN}preview/?node=good")
    assert answer.status_code == 422 and not Payout.objects.exists()
    assert desk.get(f"{RUN}preview/").status_code == 302  # nothing selected


def test_override_is_offered_only_where_it_is_allowed(org: Org, desk: Browser, second_admin: User) -> None:
    wallet(org)
    earner(org, "4", id="small")
    fraud = earner(org, "50", id="fraud")
    suspect(node=fraud, by=second_admin, reason="forged", at=timezone.now())
    assert 'name="override"' not in text_of(desk.get(f"{RUN}preview/?node=fraud"))
    page = text_of(desk.get(f"{RUN}preview/?node=small"))
    assert re.findall(r'name="override" value="(\w+)"', page) == ["threshold"]
    sent = {"node": "small", "reason": "leaving the network", "override": "threshold"}
    assert "Waiting for a second admin" in plain(
        desk.submit_to(f"{RUN}mark/", sent, page=f"{RUN}preview/?node=small")
    )


def test_marking_asks_for_the_password_and_keeps_the_form(org: Org, admin: User) -> None:
    wallet(org)
    earner(org, "50", id="good")
    desk = Browser().hold_session(admin)
    sent = {"node": "good", "reason": "November"}
    asked = desk.submit_to(f"{RUN}mark/", sent, page=f"{RUN}preview/?node=good")
    assert asked.status_code == 403 and 'name="reason" value="November"' in asked.content.decode()
    assert not Payout.objects.exists()
    desk.submit_to(f"{RUN}mark/", {**sent, "identity-current": PASSWORD}, page=f"{RUN}preview/?node=good")
    assert Payout.objects.get().reason == "November"


def test_second_admin_confirms_on_the_page_and_the_first_cannot(
    org: Org, desk: Browser, admin: User, second_admin: User
) -> None:
    wallet(org)
    payout = mark(earner(org, "5000", id="big"), admin)
    assert "Another admin confirms" in plain(desk.get(OPEN))
    path = f"{RUN}payouts/{payout.pk}/confirm/"
    assert "Another admin must confirm" in plain(desk.submit(path, {}))
    shown = plain(desk.get(path))
    assert Wallet.objects.get(node=None).address in shown and "No gateway confirms" in shown
    other = proven(second_admin)
    assert "from $1,000.00 on, a second admin confirms" in plain(other.get(OPEN))
    assert other.submit(path, {}).status_code == 302
    assert second_admin.email in plain(other.get(OPEN))
    assert "no longer open" in plain(other.get(path))


def test_withdrawing_needs_a_reason(org: Org, desk: Browser, admin: User) -> None:
    wallet(org)
    payout = mark(earner(org, "50"), admin)
    path = f"{RUN}payouts/{payout.pk}/withdraw/"
    assert desk.submit(path, {"reason": ""}).status_code == 422
    assert desk.submit(path, {"reason": "wrong month"}).status_code == 302
    payout.refresh_from_db()
    assert (payout.state, payout.end_reason) == ("withdrawn", "wrong month")
    assert desk.get(path).status_code == 200


def test_payout_withdrawn_a_moment_ago_is_told_and_offers_no_button(
    org: Org, desk: Browser, admin: User, second_admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other admin is faster than the page, after it has read the payout and before it acts."""
    wallet(org)

    def too_late(act: Any) -> Any:
        def late(*args: Any, **kwargs: Any) -> Any:
            if payout.state == "proposed":
                withdraw(payout=payout, by=admin, at=timezone.now(), reason="wrong month")
                payout.refresh_from_db()
            return act(*args, **kwargs)

        return late

    monkeypatch.setattr(acts, "confirm", too_late(confirm))
    monkeypatch.setattr(acts, "withdraw", too_late(withdraw))
    monkeypatch.setattr(acts, "preview_of", too_late(preview_of))
    node = earner(org, "5000", id="big")
    other = proven(second_admin)
    ended = f"no longer open. Withdrawn by {admin.email}: wrong month"
    for verb, sent in (("confirm", {}), ("withdraw", {"reason": "me too"})):
        payout = mark(node, admin)
        path = f"{RUN}payouts/{payout.pk}/{verb}/"
        answer = other.post(path, sent, headers=other.csrf)
        page = plain(answer)
        assert answer.status_code == 422 and "has been withdrawn meanwhile" in page and ended in page, verb
        assert f">{verb.capitalize()}</button>" not in answer.content.decode()
    payout = mark(node, admin)
    shown = other.get(f"{RUN}payouts/{payout.pk}/confirm/")
    assert shown.status_code == 200 and ended in plain(shown)


def test_lone_admin_is_told_that_nobody_else_confirmed(org: Org, desk: Browser, admin: User) -> None:
    wallet(org)
    mark(earner(org, "5000"), admin)
    assert "Confirmed by nobody else" in plain(desk.get(OPEN))
    assert "Confirmed by nobody else" in plain(desk.get(f"{RUN}export/"))


def test_export_file_is_downloaded_as_it_was_made(org: Org, desk: Browser, admin: User) -> None:
    wallet(org)
    mark(earner(org, "50"), admin)
    bad = earner(org, "60", id="bad")
    mark(bad, admin)
    suspect(node=bad, by=admin, reason="forged", at=timezone.now())
    done = plain(desk.submit(f"{RUN}export/", {"reason": "November"}))
    assert "Export no. 1" in done and "Taken back bad" in done and "finding of fraud" in done
    first, again = (desk.get(f"{RUN}files/1.csv") for _ in range(2))
    assert first.content == again.content == bytes(ExportFile.objects.get().body)
    assert 'filename="jatevo-export-000001.csv"' in first["Content-Disposition"]
    page = plain(desk.get(f"{RUN}files/1/"))
    assert bytes(ExportFile.objects.get().sha256).hex() in page and ADDRESSES[0] in page
    assert "No. 1" in plain(desk.get(f"{RUN}?part=files"))
    second = desk.submit(f"{RUN}export/", {"reason": "November"})
    assert second.status_code == 302 or "No payout is ready" in plain(second)
    assert ExportFile.objects.count() == 1


def test_payment_is_returned_with_a_reason(org: Org, desk: Browser, admin: User) -> None:
    wallet(org)
    mark(earner(org, "50"), admin)
    export(by=admin, at=timezone.now(), reason="November")
    payment = Payment.objects.get()
    path = f"{RUN}payments/{payment.pk}/return/"
    assert desk.submit(path, {"reason": "bounced at the exchange"}).status_code == 302
    assert "Returned" in plain(desk.get(f"{RUN}files/1/"))
    assert "bounced at the exchange" in plain(desk.get(path))


def test_payment_returned_a_moment_ago_is_told_and_offers_no_button(
    org: Org, desk: Browser, admin: User, second_admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet(org)
    mark(earner(org, "50"), admin)
    export(by=admin, at=timezone.now(), reason="November")
    payment = Payment.objects.get()

    def late(**sent: Any) -> Payment:
        return_payment(payment=payment, by=second_admin, at=timezone.now(), reason="bounced")
        return return_payment(**sent)

    monkeypatch.setattr(acts, "return_payment", late)
    answer = desk.submit(f"{RUN}payments/{payment.pk}/return/", {"reason": "bounced at the exchange"})
    page = plain(answer)
    assert answer.status_code == 422 and f"already returned, by {second_admin.email}" in page
    assert "Back to the export" in page and "bounced at the exchange" not in page


@pytest.mark.parametrize(
    "path", ["files/9/", "files/9.csv", "payments/9/return/", "payouts/9/confirm/", "payouts/9/withdraw/"]
)
def test_what_does_not_exist_is_not_found(desk: Browser, path: str) -> None:
    assert desk.get(RUN + path).status_code == 404


def test_outsiders_learn_nothing_and_change_nothing(
    org: Org, outsiders: dict[str, Browser], admin: User, second_admin: User
) -> None:
    wallet(org)
    mark(earner(org, "50"), admin)
    export(by=admin, at=timezone.now(), reason="November")
    payment = Payment.objects.get()
    payout = mark(earner(org, "5000", id="secret"), admin)
    looking = [
        "",
        "?part=open",
        "?part=files",
        "preview/?node=secret",
        "export/",
        "files/1/",
        "files/1.csv",
        f"payouts/{payout.pk}/confirm/",
        f"payouts/{payout.pk}/withdraw/",
        f"payments/{payment.pk}/return/",
    ]
    there, missing = f"payouts/{payout.pk}/confirm/", "payouts/999999/confirm/"
    for name, desk in outsiders.items():
        for path in looking:
            answer = desk.get(RUN + path)
            if name == "visitor":
                assert answer.status_code == 302 and answer["Location"].startswith("/login/"), path
            else:
                assert answer.status_code == 403 and "secret" not in answer.content.decode(), (name, path)
        for path in ("mark/", "export/", there, f"payments/{payment.pk}/return/"):
            sent = {"node": "secret", "reason": "for me", "identity-current": PASSWORD}
            answer = desk.post(RUN + path, sent, headers=desk.csrf)
            assert answer.status_code in (302, 403) and COOKIE not in answer.cookies, (name, path)
        assert desk.get(RUN + there).status_code == desk.get(RUN + missing).status_code
    payout.refresh_from_db()
    payment.refresh_from_db()
    assert payout.state == "proposed" and payment.returned_at is None and ExportFile.objects.count() == 1
    assert not AuditEvent.objects.filter(verb="session.identity_confirmed").exists()


def test_queries_do_not_grow_with_the_nodes(org: Org, desk: Browser) -> None:
    wallet(org)
    counts = []
    for number in range(2):
        for each in range(12):
            earner(org, "50", id=f"node-{number}-{each}")
        with CaptureQueriesContext(
            connection,
        ) as captured:
            text_of(desk.get(RUN))
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 16


def test_node_page_and_table_lead_here_for_admins_alone(
    org: Org, desk: Browser, outsiders: dict[str, Browser]
) -> None:
    wallet(org)
    earner(org, "50", id="good")
    link = f'href="{RUN}preview/?node=good"'
    button = f'formaction="{RUN}preview/"'
    assert link in text_of(desk.get("/nodes/good/")) and link in text_of(desk.get("/nodes/"))
    assert button in text_of(desk.get("/nodes/"))
    operator = outsiders["operator"]
    for page in ("/nodes/good/", "/nodes/"):
        assert RUN not in text_of(operator.get(page))
    asked = desk.submit_to(f"{RUN}preview/", {"node": "good", "query": "?q=x"}, page="/nodes/")
    assert "Mark 1 node payout-ready" in plain(asked)
