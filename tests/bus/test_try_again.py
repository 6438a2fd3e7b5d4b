"""Staff sees parked messages in Django admin, and lets selected ones be judged again."""

import time
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.utils import timezone

from jatevo.accounts.models import Role
from jatevo.audit.models import AuditEvent
from jatevo.bus.judging import Fate, Message, Verdict, headers_read
from jatevo.bus.models import MessageKind, ParkedMessage, ParkedState
from jatevo.bus.parking import park
from jatevo.metrics.retention_policy import apply
from nodes.models import Node
from receipts.models import Receipt
from tests.accounts.browser import Browser
from tests.factories import UserFactory, signed_receipt
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db
PAGE = "/admin/bus/parkedmessage/"


@pytest.fixture
def staff() -> Browser:
    return Browser().hold_session(UserFactory.create(role=Role.ADMIN, email="the.admin@example.org"))


def parked_of(
    node: Node, body: Any, *, kind: MessageKind = MessageKind.RECEIPTS, age: timedelta = timedelta(hours=1)
) -> ParkedMessage:
    """A message that was stored so long ago, and that a fault of the console has parked."""
    raw = orjson.dumps(body)
    stored_at = timezone.now() - age
    sent = SignedSender.node(node).headers(raw, at=stored_at.timestamp())
    number = ParkedMessage.objects.count() + 1
    message = Message(kind, number, stored_at, 5, headers_read(kind, sent), raw)
    verdict = Verdict(Fate.FAILED, "internal_error", "Something went wrong on our side.", node.pk)
    assert park(message, verdict, at=timezone.now())
    return ParkedMessage.objects.get(sequence=number)


def try_again(staff: Browser, *parked: ParkedMessage) -> str:
    chosen = [str(each.pk) for each in parked]
    answer = staff.submit(PAGE, {"action": "try_selected_again", "_selected_action": chosen})
    assert answer.status_code == 302
    return staff.get(PAGE).content.decode()


def test_a_message_that_can_be_taken_now_is_taken(staff: Browser, node: Node) -> None:
    parked = parked_of(node, signed_receipt(node.pk))
    assert "it is taken now" in try_again(staff, parked)
    parked.refresh_from_db()
    assert (parked.state, parked.tries) == (ParkedState.TAKEN, 6)
    assert parked.taken_at is not None
    assert Receipt.objects.get().node_id == node.pk
    event = AuditEvent.objects.get(verb="parkedmessage.try_again")
    assert (event.actor_id, event.subject_id) == ("the.admin@example.org", str(parked.pk))
    assert event.details["outcome"] == "taken"


def test_a_message_that_was_taken_meanwhile_is_not_taken_twice(staff: Browser, node: Node) -> None:
    receipt = signed_receipt(node.pk)
    parked = parked_of(node, receipt)
    SignedSender.node(node).send("/v1/receipts", receipt)
    try_again(staff, parked)
    parked.refresh_from_db()
    assert parked.state == ParkedState.TAKEN
    assert Receipt.objects.count() == 1
    assert "It has been taken" in try_again(staff, parked)


def test_a_message_that_is_still_refused_stays_with_the_new_reason(staff: Browser, node: Node) -> None:
    parked = parked_of(node, signed_receipt(node.pk, tokens_input=-1))
    try_again(staff, parked)
    parked.refresh_from_db()
    assert (parked.state, parked.error_type) == (ParkedState.PARKED, "invalid_request")
    assert AuditEvent.objects.get(verb="parkedmessage.try_again").details["error"] == "invalid_request"


def test_no_one_can_change_what_a_machine_signed(staff: Browser, node: Node) -> None:
    parked = parked_of(node, signed_receipt(node.pk))
    parked.body = bytes(parked.body).replace(b"eu", b"ap")
    parked.body += b" "
    parked.size_bytes = len(parked.body)
    parked.save()
    try_again(staff, parked)
    parked.refresh_from_db()
    assert (parked.state, parked.error_type) == (ParkedState.PARKED, "invalid_token")
    assert not Receipt.objects.exists()


def test_an_old_heartbeat_does_not_say_that_its_node_lives(staff: Browser, node: Node) -> None:
    beat = {"node_id": node.pk, "ts": time.time() - 3600, "metrics": {"uptime": 1}}
    parked = parked_of(node, beat, kind=MessageKind.HEARTBEATS)
    assert "means nothing now" in try_again(staff, parked)
    node.refresh_from_db()
    assert node.last_heartbeat_at is None


def test_a_body_that_was_cut_is_not_judged(staff: Browser, node: Node) -> None:
    parked = parked_of(node, signed_receipt(node.pk))
    ParkedMessage.objects.update(size_bytes=parked.size_bytes + 1)
    assert "Only the beginning" in try_again(staff, parked)


def test_several_are_each_judged_alone(staff: Browser, node: Node) -> None:
    bad = parked_of(node, signed_receipt(node.pk, tokens_input=-1))
    good = parked_of(node, signed_receipt(node.pk))
    try_again(staff, bad, good)
    states = dict(ParkedMessage.objects.values_list("pk", "state"))
    assert states == {bad.pk: "parked", good.pk: "taken"}


def test_page_shows_all_but_the_signature_and_changes_nothing(staff: Browser, node: Node) -> None:
    parked = parked_of(node, signed_receipt(node.pk))
    page = staff.get(f"{PAGE}{parked.pk}/change/").content.decode()
    assert node.pk in page and "internal_error" in page and "webhook-id" in page
    assert parked.headers["webhook-signature"] not in page
    assert staff.get(f"{PAGE}add/").status_code == 403
    assert staff.submit(f"{PAGE}{parked.pk}/change/", {"state": "taken"}).status_code == 403


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_others_see_no_parked_messages(role: Role, node: Node) -> None:
    parked = parked_of(node, signed_receipt(node.pk))
    browser = Browser().hold_session(UserFactory.create(role=role))
    assert browser.get(PAGE).status_code in (302, 403, 404)
    fields = {"action": "try_selected_again", "_selected_action": str(parked.pk)}
    browser.submit_to(PAGE, fields, page="/nodes/")
    assert not Receipt.objects.exists()


def test_parked_messages_are_kept_for_a_month(node: Node) -> None:
    old, new = (parked_of(node, signed_receipt(node.pk)) for _ in range(2))
    ParkedMessage.objects.filter(pk=old.pk).update(parked_at=timezone.now() - timedelta(days=31))
    list(apply(at=timezone.now()))
    assert ParkedMessage.objects.get() == new
