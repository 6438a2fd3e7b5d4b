"""/earnings/review/: what is held by node and cause, deciding about many, and disputes, as the accrual left them."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from earnings.accrual import accrue_all
from earnings.models import HeldItem, Item, Line, Verdict
from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from nodes.actions import suspect
from nodes.models import Node
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.earnings.accrual.test_accrue import active_node, receipt
from tests.earnings.rows import make_rate

pytestmark = pytest.mark.django_db
QUEUE = "/earnings/review/"
DISPUTES = f"{QUEUE}disputes/"


@pytest.fixture
def admin(db: None) -> User:
    return make_user(Role.ADMIN)


@pytest.fixture
def desk(admin: User) -> Browser:
    return Browser().hold_session(admin)


def accrue() -> None:
    accrue_all(at=timezone.now())


def node_of(org: Org, node_id: str) -> Node:
    return active_node(node_id, timezone.now() - timedelta(days=40), org=org)


def hurried(node: Node, number: int = 1, **changes: Any) -> None:
    """Receipts of the node that claim too many tokens a second."""
    ended = timezone.now() - timedelta(minutes=5)
    for _ in range(number):
        receipt(node, ended, seconds=1, tokens_output=50_000, **changes)


def plain(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def groups(page: str) -> list[str]:
    return re.findall(r'name="group" value="([^"]+)"', page)


@pytest.fixture
def org(db: None) -> Org:
    make_rate()
    return Org.objects.create(name="Alpine Compute")


@pytest.fixture
def rival(db: None) -> Org:
    return Org.objects.create(name="Rival")


def test_groups_have_count_amount_and_the_numbers_of_an_example(org: Org, desk: Browser) -> None:
    hurried(node_of(org, "fast"), 3)
    accrue()
    page = desk.get(QUEUE)
    words = plain(page)
    assert "Too many tokens per second 3" in words and "$0.0603" in text_of(page)
    assert "50,000 output tokens in at most 2 seconds; the limit for the model is 1,000" in words
    assert 'href="/nodes/fast/"' in text_of(page) and "state=held&amp;cause=speed" in text_of(page)
    assert f'href="/receipts/fast/{HeldItem.objects.order_by("pk")[0].request_id}/"' in text_of(page)


def test_filters_are_in_the_address_and_strict(org: Org, rival: Org, desk: Browser) -> None:
    hurried(node_of(org, "fast"))
    hurried(node_of(rival, "other"))
    receipt(node_of(org, "late-one"), timezone.now() - timedelta(hours=9), after=7 * 3600)
    accrue()

    def shown(query: str) -> set[str]:
        return {each.split("|")[0] for each in groups(text_of(desk.get(QUEUE + query)))}

    assert shown("") == {"fast", "other", "late-one"}
    assert shown("?cause=late&q=&org=") == {"late-one"}
    assert shown(f"?org={rival.pk}") == {"other"}
    assert shown("?q=FA") == {"fast"}
    for wrong in ("?cause=disputed", "?cause=x", "?sort=up", "?q=a&q=b", "?q=%00", "?org=1"):
        assert 'role="alert"' in text_of(desk.get(QUEUE + wrong)), wrong
    part = desk.get(QUEUE, headers={"HX-Request": "true", "HX-Target": "review-found"}).content.decode()
    assert "<html" not in part and len(groups(part)) == 3


def decide(desk: Browser, keys: list[str], **sent: str) -> Any:
    fields: dict[str, Any] = {"group": keys, "until": timezone.now().isoformat(), **sent}
    return desk.submit_to(f"{QUEUE}decide/", fields, page="/password/")


def test_many_groups_are_decided_with_one_reason(org: Org, rival: Org, desk: Browser, admin: User) -> None:
    hurried(node_of(org, "fast"), 2)
    hurried(node_of(rival, "other"))
    accrue()
    keys = groups(text_of(desk.get(QUEUE)))
    asked = decide(desk, keys)
    assert "Decide about 3 held receipts" in plain(asked) and HeldItem.objects.count() == 3
    done = plain(decide(desk, keys, state="payable", reason="benchmarked, it is real"))
    assert "Released fast 2 receipts" in done and not HeldItem.objects.exists()
    verdicts = Verdict.objects.filter(actor=admin.email)
    assert {(each.state, each.reason) for each in verdicts} == {("payable", "benchmarked, it is real")}
    assert len(verdicts) == 3
    events = AuditEvent.objects.filter(verb="earnings.release").order_by("subject_id")
    assert [(each.subject_id, each.org_id, each.details["receipts"]) for each in events] == [
        ("fast", org.pk, 2), ("other", rival.pk, 1),
    ]  # fmt: skip


def test_an_excluded_receipt_is_released_with_a_reason_and_once(org: Org, desk: Browser) -> None:
    hurried(node_of(org, "fast"))
    accrue()
    keys = groups(text_of(desk.get(QUEUE)))
    decide(desk, keys, state="excluded", reason="not possible")
    item = Item.objects.get()
    shown, path = (
        f"/earnings/receipts/fast/{item.request_id}/",
        f"{QUEUE}excluded/fast/{item.request_id}/release/",
    )
    assert f'href="{path}"' in text_of(desk.get(shown))
    assert desk.submit(path, {"reason": ""}).status_code == 422
    assert desk.submit(path, {"reason": "measured again, it is real"}).status_code == 302
    assert "Released by an admin: measured again, it is real" in plain(desk.get(shown))
    assert Line.objects.get().payable_usd == item.fee_usd and not Line.objects.get().excluded_receipts
    again = desk.submit(path, {"reason": "once more"})
    assert again.status_code == 422 and "not excluded any more" in plain(again)
    accrue()
    assert Verdict.objects.order_by("-id")[0].state == "payable", "the rules leave what a person decided"
    event = AuditEvent.objects.get(verb="earnings.release")
    assert (event.subject_id, event.details["was"], event.org_id) == ("fast", "excluded", org.pk)
    assert Browser().hold_session(make_user(Role.OPERATOR, org=org)).get(path).status_code == 403
    assert desk.get(f"{QUEUE}excluded/fast/unknown/release/").status_code == 404


def test_receipt_that_a_finding_of_fraud_covers_is_not_released(org: Org, desk: Browser, admin: User) -> None:
    """The finding is new: the receipt is still excluded for another reason."""
    node = node_of(org, "fast")
    hurried(node)
    accrue()
    first = Item.objects.get()
    decide(desk, groups(text_of(desk.get(QUEUE))), state="excluded", reason="not possible")
    suspect(
        node=node,
        by=admin,
        reason="forged",
        at=timezone.now(),
        doubtful_from=first.ts_end - timedelta(days=1),
    )
    path = f"{QUEUE}excluded/fast/{first.request_id}/release/"
    answer = desk.submit(path, {"reason": "measured again"})
    assert answer.status_code == 422 and "A finding of fraud covers this receipt" in plain(answer)
    assert state_of(first.receipt_id) == "excluded" and not Line.objects.get().held_usd
    assert not AuditEvent.objects.filter(verb="earnings.release").exists()


def test_held_receipts_that_a_finding_of_fraud_covers_are_not_told_as_paid(
    org: Org, desk: Browser, admin: User
) -> None:
    """They were held for another reason, which an admin may decide. The finding then holds them."""
    node = node_of(org, "fast")
    hurried(node, 2)
    accrue()
    suspect(
        node=node,
        by=admin,
        reason="forged",
        at=timezone.now(),
        doubtful_from=timezone.now() - timedelta(days=1),
    )
    keys = groups(text_of(desk.get(QUEUE)))
    done = plain(decide(desk, keys, state="payable", reason="measured again"))
    assert "2 receipts, 2 of which a finding of fraud still holds" in done
    assert set(HeldItem.objects.values_list("rule", flat=True)) == {"fraud"}


def test_excluded_receipts_stay_excluded(org: Org, desk: Browser) -> None:
    hurried(node_of(org, "fast"))
    accrue()
    keys = groups(text_of(desk.get(QUEUE)))
    assert "Excluded fast 1 receipt" in plain(decide(desk, keys, state="excluded", reason="not possible"))
    accrue()
    assert not HeldItem.objects.exists()
    assert "Nothing of it is held any more" in plain(decide(desk, keys, state="payable", reason="again"))
    assert "Nothing of what you selected" in plain(decide(desk, keys))


@pytest.mark.parametrize(
    "sent",
    [{"state": "payable", "reason": " "}, {"reason": "because"}, {"state": "held", "reason": "because"}],
)
def test_decision_needs_a_reason_and_a_choice(org: Org, desk: Browser, sent: dict[str, str]) -> None:
    hurried(node_of(org, "fast"))
    accrue()
    answer = decide(desk, groups(text_of(desk.get(QUEUE))), **sent)
    assert answer.status_code == 422 and HeldItem.objects.count() == 1


def test_what_came_after_the_page_was_shown_is_not_decided(org: Org, desk: Browser) -> None:
    node = node_of(org, "fast")
    hurried(node)
    accrue()
    keys, until = groups(text_of(desk.get(QUEUE))), timezone.now().isoformat()
    hurried(node)
    accrue()
    assert "Released fast 1 receipt" in plain(
        decide(desk, keys, state="payable", reason="seen it", until=until)
    )
    assert HeldItem.objects.count() == 1


@pytest.mark.parametrize("key", ["", "x", "a|b|c", "fast|x|speed", "a\x00|b|speed", "|||||"])
def test_nonsense_selects_nothing(org: Org, desk: Browser, key: str) -> None:
    assert decide(desk, [key], state="payable", reason="because").status_code in (200, 302, 422)


def dispute(org: Org, rival: Org) -> list[int]:
    """Both claim one request; no gateway knows of it."""
    for owner, name in ((org, "ours"), (rival, "theirs")):
        receipt(
            node_of(owner, name),
            timezone.now() - timedelta(minutes=5),
            request_id="r_1",
            output_hash=f"blake3:{name}",
        )
    accrue()
    return list(HeldItem.objects.filter(cause="disputed").order_by("node_id").values_list("pk", flat=True))


def test_dispute_shows_both_sides_and_what_each_says(org: Org, rival: Org, desk: Browser) -> None:
    dispute(org, rival)
    assert not groups(text_of(desk.get(QUEUE))) and "Disputes (1)" in plain(desk.get(QUEUE))
    page = plain(desk.get(DISPUTES))
    for words in (
        "r_1",
        "ours",
        "theirs",
        "Alpine Compute",
        "Rival",
        "blake3:ours",
        "blake3:theirs",
        "1,000 / 500",
    ):
        assert words in page


def settle(desk: Browser, winner: str, reason: str = "their logs agree") -> str:
    sent = {"request_id": "r_1", "winner": winner, "reason": reason}
    assert desk.submit_to(f"{DISPUTES}decide/", sent, page="/password/").status_code == 302
    return plain(desk.get(DISPUTES))


def state_of(receipt_id: int) -> str:
    return Verdict.objects.filter(receipt_id=receipt_id).order_by("-id")[0].state


def test_admin_decides_for_one_side_and_the_other_is_excluded(
    org: Org, rival: Org, desk: Browser, admin: User
) -> None:
    ours, theirs = dispute(org, rival)
    assert "One side is paid for r_1" in settle(desk, str(theirs))
    assert (state_of(ours), state_of(theirs)) == ("excluded", "payable")
    accrue()
    assert (state_of(ours), state_of(theirs)) == ("excluded", "payable")
    assert Verdict.objects.filter(receipt_id=theirs, actor=admin.email, reason="their logs agree").exists()
    assert {each.org_id for each in AuditEvent.objects.filter(verb__startswith="earnings.")} == {
        org.pk,
        rival.pk,
    }
    assert "has been decided meanwhile" in settle(desk, str(ours))


def test_dispute_is_not_decided_for_a_side_that_a_finding_of_fraud_covers(
    org: Org, rival: Org, desk: Browser, admin: User
) -> None:
    """Else the page would tell that it is paid, and the honest side would be excluded."""
    ours, theirs = dispute(org, rival)
    suspect(
        node=Node.objects.get(pk="theirs"), by=admin, reason="forged", at=timezone.now(),
        doubtful_from=timezone.now() - timedelta(days=1),
    )  # fmt: skip
    page = settle(desk, str(theirs))
    assert "A finding of fraud covers this receipt" in page and "One side is paid" not in page
    assert (state_of(ours), state_of(theirs)) == ("held", "held")
    assert "One side is paid for r_1" in settle(desk, str(ours))


def test_admin_decides_for_nobody(org: Org, rival: Org, desk: Browser) -> None:
    sides = dispute(org, rival)
    assert "Nobody is paid for r_1" in settle(desk, "none")
    assert {state_of(each) for each in sides} == {"excluded"}


@pytest.mark.parametrize(
    ("winner", "reason"), [("", "because"), ("none", ""), ("999", "because"), ("x", "because")]
)
def test_dispute_is_not_decided_without_a_side_and_a_reason(
    org: Org, rival: Org, desk: Browser, winner: str, reason: str
) -> None:
    dispute(org, rival)
    settle(desk, winner, reason)
    assert HeldItem.objects.count() == 2


def test_outsiders_learn_nothing_and_decide_nothing(org: Org, rival: Org, desk: Browser) -> None:
    ours, _ = dispute(org, rival)
    hurried(node_of(org, "fast"))
    accrue()
    keys = groups(text_of(desk.get(QUEUE)))
    outsiders = {
        "operator": Browser().hold_session(make_user(Role.OPERATOR, org=org)),
        "viewer": Browser().hold_session(make_user(Role.VIEWER)),
        "visitor": Browser(),
    }
    for name, browser in outsiders.items():
        for path in (QUEUE, DISPUTES):
            answer = browser.get(path)
            assert answer.status_code == (302 if name == "visitor" else 403)
            assert "fast" not in answer.content.decode()
        sent: dict[str, Any] = {
            "group": keys,
            "state": "payable",
            "reason": "mine",
            "until": timezone.now().isoformat(),
        }
        assert browser.post(f"{QUEUE}decide/", sent, headers=browser.csrf).status_code in (302, 403)
        sent = {"request_id": "r_1", "winner": str(ours), "reason": "mine"}
        assert browser.post(f"{DISPUTES}decide/", sent, headers=browser.csrf).status_code in (302, 403)
    assert HeldItem.objects.count() == 3


def test_queries_do_not_grow_with_the_groups(org: Org, desk: Browser) -> None:
    counts = []
    for start in (0, 10):
        for number in range(start, start + 10):
            hurried(node_of(org, f"fast-{number}"))
        accrue()
        with CaptureQueriesContext(connection) as captured:
            text_of(desk.get(QUEUE))
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 16


def test_count_of_a_group_opens_exactly_its_receipts(org: Org, desk: Browser) -> None:
    hurried(node_of(org, "fast"), 3)
    accrue()
    found = re.search(r'href="(/earnings/receipts/[^"]+)"', text_of(desk.get(QUEUE)))
    assert found
    page = text_of(desk.get(found[1].replace("&amp;", "&")))
    for held in HeldItem.objects.all():
        assert held.request_id in page
    assert "$0.0603" in page
