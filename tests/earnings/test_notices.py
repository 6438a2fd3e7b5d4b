"""What members are told by mail: one mail an hour, whatever happened, and nobody else's affairs."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core import mail
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from earnings import notices
from earnings.payouts import export, mark_ready, return_payment
from earnings.tasks import mail_digest
from jatevo.accounts.models import Org, Role, User
from jatevo.audit.record import actor_of, record
from nodes.actions import clear, move, suspect
from nodes.models import FraudRelation, RelationGround
from tests.accounts.people import make_user
from tests.earnings.payouts.earners import ADDRESSES, earner, wallet
from tests.earnings.rows import earn
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def org(db: None) -> Org:
    return Org.objects.create(name="Alpine Compute")


@pytest.fixture
def owner(org: Org) -> User:
    return make_user(Role.OPERATOR, org=org, email="owner@example.org")


@pytest.fixture
def rival(db: None) -> User:
    return make_user(Role.OPERATOR, org=Org.objects.create(name="Rival"), email="rival@example.org")


@pytest.fixture
def admin(db: None) -> User:
    return make_user(Role.ADMIN)


def next_hour() -> datetime:
    return notices.last_full_hour(timezone.now()) + HOUR


def run_mails() -> list[str]:
    mail.outbox.clear()
    for job in ProcrastinateJob.objects.filter(task_name=notices.DIGEST_TASK, status="todo"):
        mail_digest(**job.args)
    return [f"{message.to[0]}\n{message.body}" for message in mail.outbox]


def test_one_mail_tells_all_that_happened_in_the_hour(
    org: Org, owner: User, rival: User, admin: User
) -> None:
    wallet(org)
    node = earner(org, "50", id="n-1")
    for _ in range(3):
        earn(
            NodeFactory.create(org=org),
            timezone.now(),
            state="held",
            rule="implausible",
            cause="speed",
            accepted_at=timezone.now(),
        )
    mark_ready(nodes=[node.pk], by=admin, at=timezone.now(), reason="November")
    file = export(by=admin, at=timezone.now(), reason="November").file
    assert file
    return_payment(payment=file.payments.get(), by=admin, at=timezone.now(), reason="account closed")
    record(
        "earnings.exclude",
        by=actor_of(admin),
        subject_kind="node",
        subject_id="n-1",
        org_id=org.pk,
        reason="no such GPU",
        receipts=12,
    )
    assert notices.tell(until=next_hour()) == 1
    (told,) = run_mails()
    for words in (
        owner.email,
        "3 receipts",
        "n-1: 12 receipts excluded. Reason: no such GPU",
        f"$50.00 to Solana {ADDRESSES[0]}",
        "account closed",
    ):
        assert words in told


def test_nothing_is_told_twice_and_nothing_is_lost_while_the_worker_is_away(org: Org, owner: User) -> None:
    start = datetime(2026, 5, 1, 12, tzinfo=UTC)
    with time_machine.travel(start, tick=False):
        assert notices.tell(until=start) == 0
    held_at = start + timedelta(minutes=30)
    earn(NodeFactory.create(org=org), held_at, state="held", rule="late", cause="late", accepted_at=held_at)
    assert notices.tell(until=start + 5 * HOUR) == 1
    assert notices.tell(until=start + 5 * HOUR) == notices.tell(until=start + 6 * HOUR) == 0


def test_dispute_is_told_to_both_sides(org: Org, owner: User, rival: User) -> None:
    assert rival.org
    for side in (org, rival.org):
        earn(
            NodeFactory.create(org=side),
            timezone.now(),
            state="held",
            rule="one_per_request",
            cause="disputed",
            request_id="r_1",
            accepted_at=timezone.now(),
        )
    assert notices.tell(until=next_hour()) == 2
    told = run_mails()
    assert all("1 receipt," in each for each in told)
    assert "Rival" not in next(each for each in told if owner.email in each)


def test_nobody_is_told_where_nothing_happened(org: Org, owner: User) -> None:
    assert notices.tell(until=next_hour()) == 0


def test_members_are_told_of_findings_of_fraud_and_of_their_end(
    org: Org, owner: User, rival: User, admin: User
) -> None:
    node = NodeFactory.create(org=org, id="n-1")
    suspect(node=node, by=admin, reason="impossible speed", at=timezone.now())
    until = next_hour()
    notices.tell(until=until)
    (told,) = run_mails()
    assert told.startswith("owner@example.org")
    assert "- n-1: a finding of fraud was opened, and the earnings that it covers are held." in told
    with time_machine.travel(until + timedelta(minutes=5), tick=False):
        clear(node=node, by=admin, reason="a counter overflowed", at=timezone.now())
    ProcrastinateJob.objects.all().delete()
    notices.tell(until=until + HOUR)
    (told,) = run_mails()
    assert "was cleared, and what it held is released. Reason: a counter overflowed" in told
    assert "was opened" not in told


def findings_told(*, until: datetime) -> dict[str, list[str]]:
    """The nodes whose findings were mailed, by address."""
    ProcrastinateJob.objects.all().delete()
    notices.tell(until=until)
    return {
        told.splitlines()[0]: [line[2:].split(":")[0] for line in told.splitlines() if "fraud was" in line]
        for told in run_mails()
    }


def test_finding_is_told_to_those_whose_lines_it_covers_even_after_the_node_moved(
    org: Org, owner: User, rival: User, admin: User
) -> None:
    """The former organisation's earnings are held, and the new one has none yet."""
    assert rival.org
    now, until = timezone.now(), next_hour()
    node = NodeFactory.create(org=org, id="n-1")
    earn(node, now - timedelta(days=3))
    move(node=node, org=rival.org, by=admin, at=now)
    suspect(node=node, by=admin, reason="too fast", at=now, doubtful_from=now - timedelta(days=5))
    assert findings_told(until=until) == {owner.email: ["n-1"]}
    with time_machine.travel(until + timedelta(minutes=5), tick=False):
        clear(node=node, by=admin, reason="a counter overflowed", at=timezone.now())
    assert findings_told(until=until + HOUR) == {owner.email: ["n-1"]}


def test_finding_is_not_told_to_the_former_owner_of_a_node_for_lines_before_the_doubt(
    org: Org, owner: User, rival: User, admin: User
) -> None:
    assert rival.org
    now = timezone.now()
    node = NodeFactory.create(org=org, id="n-1")
    earn(node, now - timedelta(days=3))
    move(node=node, org=rival.org, by=admin, at=now)
    suspect(node=node, by=admin, reason="too fast", at=now, doubtful_from=now - timedelta(days=1))
    assert findings_told(until=next_hour()) == {rival.email: ["n-1"]}, (
        "it covers no line, so the owner is told"
    )


def test_finding_is_told_to_both_owners_of_a_node_and_names_only_own_nodes(
    org: Org, owner: User, rival: User, admin: User
) -> None:
    """All that a related node ever did is in doubt, so the one who had it before is told too, but of that node."""
    assert rival.org
    third = make_user(Role.OPERATOR, org=Org.objects.create(name="Third"), email="third@example.org")
    assert third.org
    now, until = timezone.now(), next_hour()
    node, related = NodeFactory.create(org=org, id="n-1"), NodeFactory.create(org=third.org, id="n-2")
    earn(node, now - timedelta(days=3))
    earn(related, now - timedelta(days=30))
    for each in (node, related):
        move(node=each, org=rival.org, by=admin, at=now)
    earn(node, now - timedelta(hours=1), org=rival.org)
    finding = suspect(node=node, by=admin, reason="too fast", at=now, doubtful_from=now - timedelta(days=5))
    FraudRelation.objects.create(finding=finding, node=related, ground=RelationGround.ORG, related_at=now)
    everybody = {owner.email: ["n-1"], rival.email: ["n-1"], third.email: ["n-2"]}
    assert findings_told(until=until) == everybody
    with time_machine.travel(until + timedelta(minutes=5), tick=False):
        clear(node=node, by=admin, reason="a counter overflowed", at=timezone.now())
    assert findings_told(until=until + HOUR) == everybody, (
        "the clear lifts the relation, and it is told nevertheless"
    )
