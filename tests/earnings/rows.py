"""Rows of earnings for tests, as the accrual leaves them: sums of lines, held items and balances agree.

Rates come first: once there is an item, the database takes only rates from the future.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from django.db import connection
from django.db.models import F

from earnings.accrual.months import ensure_months
from earnings.models import (
    ExportFile,
    FinalDay,
    HeldItem,
    Item,
    JtvoRate,
    Line,
    Movement,
    NodeBalance,
    Payment,
    Payout,
    PayoutState,
    Rate,
    Verdict,
)
from jatevo.accounts.models import Org
from jatevo.wire.names import normal_model
from nodes.models import Node
from receipts.models import Dispatch, Gateway, UnjudgedReceipt, UnjudgedRequest
from tests.factories import GatewayFactory, ReceiptFactory

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
MILLION = Decimal(1_000_000)
MODEL = "llama3.1-8b"


def make_rate(
    model: str = "",
    *,
    holds_from: datetime = LONG_AGO,
    input_usd: str = "0.1",
    output_usd: str = "0.4",
    cache_hit_discount: str = "0.5",
) -> Rate:
    return Rate.objects.create(
        model=model,
        holds_from=holds_from,
        input_usd=Decimal(input_usd),
        output_usd=Decimal(output_usd),
        cache_hit_discount=Decimal(cache_hit_discount),
        created_by="test",
    )


def make_jtvo(per_usd: str = "12.5", *, holds_from: datetime = LONG_AGO) -> JtvoRate:
    return JtvoRate.objects.create(
        jtvo_per_usd=Decimal(per_usd), holds_from=holds_from, created_by="test", source="test"
    )


def fee(rate: Rate, tokens_input: int, tokens_output: int, cache_hit: bool) -> Decimal:
    """What a receipt costs, computed apart from the rules."""
    share = 1 - (rate.cache_hit_discount if cache_hit else Decimal(0))
    return (tokens_input * rate.input_usd * share + tokens_output * rate.output_usd) / MILLION


def earn(
    node: Node,
    ended: datetime,
    *,
    state: str = "payable",
    rule: str = "",
    cause: str = "",
    confirmed: bool = False,
    model: str = MODEL,
    tokens_input: int = 1000,
    tokens_output: int = 500,
    cache_hit: bool = False,
    hedged: bool = False,
    rate: Rate | None = None,
    org: Org | None = None,
    request_id: str | None = None,
    accepted_at: datetime | None = None,
    with_receipt: bool = True,
    seconds: int = 16,
) -> Item:
    """A receipt of the node with its item and one verdict. `state` other than payable needs a `rule`.

    The facts on the item are such that the rules late, in_service and implausible (speed) do fail, and a gateway
    dispatched what is confirmed.

    Without a `rate` it takes the one in force at `ended`, and makes a default if there is none.
    """
    ended = ended.replace(microsecond=0)
    accepted_at = accepted_at or ended + (timedelta(hours=1) if rule == "late" else timedelta(seconds=2))
    name = normal_model(model)
    price = rate or _in_force(name, ended)
    changes: dict[str, Any] = {"request_id": request_id} if request_id else {}
    receipt = ReceiptFactory(
        node=node,
        at=accepted_at,
        ts_start=int(ended.timestamp()) - seconds,
        ts_end=int(ended.timestamp()),
        model_id=model,
        tokens_input=tokens_input,
        tokens_output=tokens_output,
        cache_hit=cache_hit,
        hedged=hedged,
        **changes,
    )
    UnjudgedReceipt.objects.filter(pk=receipt.id).delete()
    day = ended.astimezone(UTC).date()
    ensure_months([day])
    line, _ = Line.objects.get_or_create(node=node, org=org or node.org, day=day, model=name, rate=price)
    item = Item.objects.create(
        day=day,
        receipt_id=receipt.id,
        accepted_at=accepted_at,
        node=node,
        org=line.org,
        request_id=receipt.request_id,
        sha256=bytes(receipt.sha256),
        line=line,
        model=name,
        ts_start=receipt.ts_start,
        ts_end=receipt.ts_end,
        tokens_input=tokens_input,
        tokens_output=tokens_output,
        failed=False,
        hedged=hedged,
        cache_hit=cache_hit,
        rate=price,
        fee_usd=fee(price, tokens_input, tokens_output, cache_hit),
        node_since=LONG_AGO,
        key_since=LONG_AGO,
        key_until=None,
        in_service=rule != "in_service",
        silent_only=False,
        outage_seconds=0,
        offered=True,
        concurrent=1,
        second_tokens=0,
        concurrency=4,
        limit_output_per_second=Decimal(1 if rule == "implausible" else 1_000_000),
        limit_context=1_000_000_000,
        require_dispatch=False,
    )
    UnjudgedReceipt.objects.filter(pk=receipt.id).delete()
    if not with_receipt:  # as after the receipts' retention
        receipt.delete()
    whole: Change = {"receipts": 1, "tokens_input": tokens_input, "tokens_output": tokens_output}
    _add(line.pk, whole, _sums(item, state, confirmed, 1))
    _append(item, state, rule=rule, cause=cause, confirmed=confirmed, at=accepted_at)
    if confirmed:
        _dispatch(item)
    return item


def _dispatch(item: Item) -> None:
    Dispatch.objects.create(
        gateway=Gateway.objects.first() or GatewayFactory.create(),
        request_id=item.request_id,
        node_id=item.node_id,
        model=item.model,
        model_id=item.model,
        ts=item.ts_start,
        received_at=item.ts_end,
    )
    UnjudgedRequest.objects.filter(request_id=item.request_id).delete()


def judge(
    item: Item,
    state: str,
    *,
    at: datetime,
    rule: str = "",
    cause: str = "",
    actor: str = "",
    reason: str = "",
    confirmed: bool = False,
) -> None:
    """A further verdict. On a line that is not final yet it posts no movement; on a final one, see `move`."""
    former = Verdict.objects.filter(receipt_id=item.receipt_id).order_by("-id")[0]
    _add(item.line_id, _sums(item, former.state, former.confirmed, -1), _sums(item, state, confirmed, 1))
    HeldItem.objects.filter(pk=item.receipt_id).delete()
    _append(item, state, rule=rule, cause=cause, confirmed=confirmed, at=at, actor=actor, reason=reason)


def finalise(day: date, *, at: datetime | None = None) -> None:
    """The day becomes final: its amounts enter the ledger."""
    at = at or datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=9, minutes=5)
    FinalDay.objects.create(day=day, final_at=at)
    for line in Line.objects.filter(day=day):
        if line.payable_usd:
            move(line, "accrue", "network", "accrued", line.payable_usd, at=at)
        if line.held_usd:
            move(line, "hold", "network", "held", line.held_usd, at=at)
    Line.objects.filter(day=day).update(final_at=at)


def move(
    line: Line, kind: str, source: str, target: str, amount: Decimal | str, *, at: datetime, **more: Any
) -> Movement:
    """A movement of a line, at `at`. The database keeps the balances."""
    return Movement.objects.create(
        at=at,
        recorded_at=at,
        kind=kind,
        from_account=source,
        to_account=target,
        amount_usd=Decimal(amount),
        line=line,
        node=line.node,
        org=line.org,
        actor=more.pop("actor", "console"),
        **more,
    )


def pay_out(
    lines: Iterable[Line], *, at: datetime, address: str = "So11111111111111111111111111111111111111112"
) -> Payment:
    """All that is accrued on lines of one organisation is marked ready and exported to its wallet, at `at`."""
    lines = [line for line in lines if line.balance.accrued]
    org = lines[0].org
    node = lines[0].node
    owed = sum((line.balance.accrued for line in lines), Decimal(0))
    row = NodeBalance.objects.filter(org=org, node=None).first()
    carried_in = row.carried if row else Decimal(0)
    paid = (owed + carried_in).quantize(Decimal("0.01"), rounding=ROUND_FLOOR)
    payout = Payout.objects.create(
        node=node,
        org=org,
        amount_usd=owed,
        state=PayoutState.EXPORTED,
        marked_at=at,
        marked_by="admin@example.org",
        reason="test",
    )
    body = f"{paid} to {address}".encode()
    export = ExportFile.objects.create(
        number=ExportFile.objects.count() + 1,
        created_at=at,
        created_by="admin@example.org",
        body=body,
        sha256=hashlib.sha256(body).digest(),
        payments_count=1,
        total_usd=paid,
    )
    payment = Payment.objects.create(
        export=export,
        org=org,
        node=None,
        chain="solana",
        address=address,
        sum_usd=owed,
        carried_in_usd=carried_in,
        paid_usd=paid,
        carried_out_usd=owed + carried_in - paid,
    )
    payout.payment = payment
    payout.save(update_fields=["payment"])
    for line in lines:
        amount = line.balance.accrued
        move(line, "ready", "accrued", "ready", amount, at=at, payout=payout)
        move(line, "export", "ready", "exported", amount, at=at, payout=payout, payment=payment)
    _carry(payment, "carry_in", "carried", "exported", carried_in, at)
    _carry(payment, "carry_out", "exported", "carried", payment.carried_out_usd, at)
    return payment


def _carry(payment: Payment, kind: str, source: str, target: str, amount: Decimal, at: datetime) -> None:
    if amount:
        Movement.objects.create(
            at=at,
            recorded_at=at,
            kind=kind,
            from_account=source,
            to_account=target,
            amount_usd=amount,
            org=payment.org,
            payment=payment,
            actor="console",
        )


def _in_force(model: str, at: datetime) -> Rate:
    for name in (model, ""):
        found = Rate.objects.filter(model=name, holds_from__lte=at).order_by("-holds_from").first()
        if found is not None:
            return found
    return make_rate()


Change = dict[str, Decimal | int]


def _sums(item: Item, state: str, confirmed: bool, sign: int) -> Change:
    """What the item adds to the columns of its line, with that verdict."""
    confirmed_usd = item.fee_usd if state == "payable" and confirmed else Decimal(0)
    return {
        f"{state}_receipts": sign,
        f"{state}_usd": sign * item.fee_usd,
        "confirmed_usd": sign * confirmed_usd,
    }


def _add(line_id: int, *changes: Change) -> None:
    names = {name for change in changes for name in change}
    Line.objects.filter(pk=line_id).update(
        **{name: F(name) + sum(change.get(name, 0) for change in changes) for name in names}
    )


def _append(
    item: Item,
    state: str,
    *,
    rule: str,
    cause: str,
    confirmed: bool,
    at: datetime,
    actor: str = "",
    reason: str = "",
) -> None:
    with connection.cursor() as cursor:  # the database numbers verdicts
        cursor.execute(
            "INSERT INTO earnings_verdict (day, receipt_id, at, state, rule, cause, confirmed, actor, reason)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [item.day, item.receipt_id, at, state, rule, cause, confirmed, actor, reason],
        )
    if state == "held":
        HeldItem.objects.create(
            receipt_id=item.receipt_id,
            day=item.day,
            node_id=item.node_id,
            org_id=item.org_id,
            line_id=item.line_id,
            request_id=item.request_id,
            rule=rule,
            cause=cause,
            fee_usd=item.fee_usd,
            since=at,
            ts_end=item.ts_end,
        )
