"""Export files: whole cents by wallet, judged once more, numbered without gaps, the same bytes for ever."""

import csv
import hashlib
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Sum
from django.utils import timezone

from earnings.models import ExportFile, Movement, NodeBalance, Payment, Payout
from earnings.payouts import Conflict, ReasonMissing, export, mark_ready, return_payment
from jatevo.accounts.models import Org, User
from jatevo.audit.models import AuditEvent
from nodes.actions import suspect
from tests.earnings.payouts.earners import ADDRESSES, earner, final_line, owes, wallet
from tests.earnings.rows import move

pytestmark = pytest.mark.django_db


def mark(*nodes: Any, by: User) -> None:
    marked = mark_ready(nodes=[n.pk for n in nodes], by=by, at=timezone.now(), reason="November")
    assert not marked.refused


def go(by: User) -> Any:
    return export(by=by, at=timezone.now(), reason="November")


def lines_of(file: ExportFile) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(bytes(file.body).decode(), newline="")))


def owed(**who: Any) -> dict[str, Decimal]:
    names = ("accrued", "ready", "exported", "carried")
    sums = NodeBalance.objects.filter(**who).aggregate(**{name: Sum(name) for name in names})
    return {name: sums[name] for name in names}


def test_wallet_gets_whole_cents_and_the_rest_is_carried(org: Org, admin: User) -> None:
    wallet(org)
    mark(earner(org, "20.1234"), earner(org, "30.0049"), by=admin)
    file = go(admin).file
    (payment,) = file.payments.all()
    assert (payment.sum_usd, payment.paid_usd) == (Decimal("50.1283"), Decimal("50.12"))
    assert owed(org=org) == {
        "accrued": 0, "ready": 0, "exported": Decimal("50.12"), "carried": Decimal("0.0083")
    }  # fmt: skip
    assert NodeBalance.objects.get(org=org, node=None).carried == Decimal("0.0083")
    mark(earner(org, "20.0017"), by=admin)
    (later,) = go(admin).file.payments.all()
    assert (later.carried_in_usd, later.paid_usd, later.carried_out_usd) == (
        Decimal("0.0083"), Decimal("20.01"), 0,
    )  # fmt: skip
    assert owed(org=org)["exported"] == Decimal("70.13") and owed(org=org)["carried"] == 0


def test_file_is_kept_byte_for_byte_with_its_hash(org: Org, rival: Org, admin: User) -> None:
    org.name = '=HYPERLINK("x"), "Ltd"\n'
    org.save()
    wallet(org)
    wallet(rival, address=ADDRESSES[1])
    node = earner(org, "12")
    wallet(org, node=node, address=ADDRESSES[2])
    mark(earner(org, "20"), node, earner(rival, "30"), by=admin)
    file = ExportFile.objects.get(pk=go(admin).file.pk)
    body = bytes(file.body)
    assert hashlib.sha256(body).digest() == bytes(file.sha256)
    assert (file.number, file.payments_count, file.total_usd) == (1, 3, 62)
    rows = {row["address"]: row for row in lines_of(file)}
    assert rows[ADDRESSES[0]]["organisation"] == '\'=HYPERLINK("x"), "Ltd"\n'
    assert [rows[address]["amount"] for address in ADDRESSES] == ["20.00", "30.00", "12.00"]
    assert rows[ADDRESSES[2]]["node_id"] == node.pk and rows[ADDRESSES[0]]["node_id"] == ""
    assert {row["reference"] for row in rows.values()} == {f"JTV-000001-000{n}" for n in (1, 2, 3)}
    org.name = "Renamed"
    org.save()
    assert bytes(ExportFile.objects.get(pk=1).body) == body


def test_numbers_have_no_gaps(org: Org, admin: User) -> None:
    wallet(org)
    for _ in range(2):
        mark(earner(org, "20"), by=admin)
        go(admin)
        with pytest.raises(Conflict):
            go(admin)
    assert list(ExportFile.objects.order_by("number").values_list("number", flat=True)) == [1, 2]


def test_export_needs_a_reason(org: Org, admin: User) -> None:
    with pytest.raises(ReasonMissing):
        export(by=admin, at=timezone.now(), reason="")


def finding(node: Any, admin: User) -> None:
    suspect(node=node, by=admin, reason="forged", at=timezone.now())


def new_wallet(node: Any, admin: User) -> None:
    wallet(node.org, node=node, address=ADDRESSES[1], payouts_from=timezone.now() + timedelta(hours=72))


def poor_reputation(node: Any, admin: User) -> None:
    node.reputation = 3
    node.save()


def nothing_left(node: Any, admin: User) -> None:
    owes(node, "50")


@pytest.mark.parametrize("happen", [finding, new_wallet, poor_reputation, nothing_left])
def test_payout_that_is_no_longer_eligible_is_taken_back_and_the_rest_goes_on(
    org: Org, admin: User, happen: Any
) -> None:
    wallet(org)
    doubtful, good = earner(org, "50"), earner(org, "20")
    mark(doubtful, good, by=admin)
    happen(doubtful, admin)
    done = go(admin)
    (back,) = done.taken_back
    assert back.payout.node_id == doubtful.pk and back.why
    stored = Payout.objects.get(node=doubtful)
    assert (stored.state, stored.end_reason) == ("withdrawn", back.why)
    assert done.file.total_usd == 20
    assert owed(node=doubtful)["ready"] == 0
    assert AuditEvent.objects.filter(verb="payout.take_back", subject_id=str(stored.pk)).exists()


def test_export_of_nothing_but_taken_back_payouts_makes_no_file(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org)
    mark(node, by=admin)
    finding(node, admin)
    assert go(admin).file is None
    assert not ExportFile.objects.exists()


def test_debt_that_arose_since_is_set_off(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org, "50")
    mark(node, by=admin)
    owes(node, "20")
    assert go(admin).file.total_usd == 30
    assert Payout.objects.get().amount_usd == 30
    assert owed(node=node)["accrued"] == 0


def test_payment_under_one_cent_is_not_made(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org, "50")
    line = final_line(node, "0.004")
    mark(node, by=admin)
    first = node.earnings_lines.exclude(pk=line.pk).get()
    move(first, "unready", "ready", "accrued", "50", at=timezone.now())
    move(first, "exclude", "accrued", "network", "50", at=timezone.now())
    done = go(admin)
    assert done.file is None and len(done.taken_back) == 1
    assert owed(node=node)["accrued"] == Decimal("0.004")


def test_address_is_frozen_in_the_payment(org: Org, admin: User) -> None:
    used = wallet(org)
    mark(earner(org), by=admin)
    go(admin)
    used.address = ADDRESSES[1]
    used.save()
    assert Payment.objects.get().address == ADDRESSES[0]


def test_returned_payment_is_available_again(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org, "20.1234")
    final_line(node, "0.0001")
    mark(node, by=admin)
    (payment,) = go(admin).file.payments.all()
    return_payment(payment=payment, by=admin, at=timezone.now(), reason="the address was closed")
    assert owed(org=org) == {
        "accrued": Decimal("20.12"), "ready": 0, "exported": 0, "carried": Decimal("0.0035")
    }  # fmt: skip
    payout = Payout.objects.get()
    assert (payout.state, payout.end_reason) == ("returned", "the address was closed")
    with pytest.raises(Conflict, match=admin.email):
        return_payment(payment=payment, by=admin, at=timezone.now(), reason="again")
    mark(node, by=admin)
    assert go(admin).file.total_usd == Decimal("20.12")
    assert owed(org=org) == {
        "accrued": 0, "ready": 0, "exported": Decimal("20.12"), "carried": Decimal("0.0035")
    }  # fmt: skip


def test_returned_payment_that_took_up_a_carried_part_loses_nothing(org: Org, admin: User) -> None:
    wallet(org)
    mark(earner(org, "20.0083"), by=admin)
    go(admin)
    node = earner(org, "20.0017")
    mark(node, by=admin)
    (payment,) = go(admin).file.payments.all()
    assert payment.paid_usd == Decimal("20.01")
    return_payment(payment=payment, by=admin, at=timezone.now(), reason="bounced")
    assert owed(node=node)["accrued"] == Decimal("20.0017")
    assert owed(org=org)["carried"] == Decimal("0.0083")
    assert owed(org=org)["exported"] == 20


def test_part_of_a_cent_is_kept_over_many_small_lines(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org, "20")
    small = [final_line(node, "0.001") for _ in range(9)]
    mark(node, by=admin)
    (payment,) = go(admin).file.payments.all()
    return_payment(payment=payment, by=admin, at=timezone.now(), reason="bounced")
    assert owed(node=node)["accrued"] == 20
    kept = [line.balance.exported for line in node.earnings_lines.filter(pk__in=[x.pk for x in small])]
    assert kept == [Decimal("0.001")] * 9


def test_every_movement_of_an_export_names_its_payout_and_payment(org: Org, admin: User) -> None:
    wallet(org)
    mark(earner(org, "20"), earner(org, "30"), by=admin)
    payment = go(admin).file.payments.get()
    exported = Movement.objects.filter(kind="export")
    assert {each.payment_id for each in exported} == {payment.pk}
    for payout in Payout.objects.all():
        assert exported.filter(payout=payout).aggregate(sum=Sum("amount_usd"))["sum"] == payout.amount_usd
