"""What a statement says: balances that add up, the month's work, what is held, payments, and the root hash."""

import hashlib
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from django.db import connection

from earnings.figures.scope import Scope
from earnings.figures.sums import Sums, sums
from earnings.models import Account, Item, Line, Movement, Payment
from earnings.rules.periods import Month
from earnings.statements.check import PROGRAM
from earnings.statements.content import StatementContent, statement_content
from earnings.statements.ledger_part import OWED, StatementDoesNotAddUp
from earnings.statements.storing import preliminary, render
from jatevo.accounts.models import User
from jatevo.web.exact import exact
from jatevo.web.templatetags.money import exact_usd
from jatevo.wire.merkle import tree_hash
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.earnings.rows import earn
from tests.earnings.statements.conftest import AFTER, MARCH

pytestmark = pytest.mark.django_db

FEBRUARY, MARCH_MONTH, APRIL = Month(2026, 2), Month(2026, 3), Month(2026, 4)


def content(user: User, month: Month = MARCH_MONTH) -> StatementContent:
    assert user.org
    return statement_content(user.org, month, at=AFTER, preliminary=False)


def text_of(body: bytes) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body.decode().split("</style>")[1]))


def test_opening_and_movements_are_closing_and_months_join(operator: User, node: Node) -> None:
    months = [content(operator, month) for month in (FEBRUARY, MARCH_MONTH, APRIL)]
    for one, following in pairwise(months):
        for account, after in zip(one.ledger.accounts, following.ledger.accounts, strict=True):
            assert account.opening + account.moved == account.closing == after.opening
    assert all(each.opening == 0 for each in months[0].ledger.accounts)
    paid = Payment.objects.get()
    assert months[1].ledger.closing(Account.EXPORTED) == paid.paid_usd
    assert months[1].ledger.closing(Account.CARRIED) == paid.carried_out_usd > 0
    # what is owed is what was earned and not paid
    final = Movement.objects.filter(org=operator.org, kind="accrue", at__lt=datetime(2026, 4, 1, tzinfo=UTC))
    release = Movement.objects.get(kind="release").amount_usd
    held = months[1].ledger.closing(Account.HELD)
    earned = sum((each.amount_usd for each in final), Decimal(0)) + release + held
    assert months[1].ledger.closing(*OWED) == earned - paid.paid_usd


def test_work_is_itemised_three_ways_and_each_sums_to_the_month(operator: User, node: Node) -> None:
    march = content(operator)
    whole = sums(Scope(operator.org_id, first=date(2026, 3, 1), last=date(2026, 3, 31)))
    assert march.whole == whole
    for parts in (march.days, march.nodes, march.models):
        assert Sums.of_all(part.sums for part in parts) == whole
    assert [part.name for part in march.days] == ["2026-03-04", "2026-03-31"]
    assert [part.name for part in march.nodes] == ["node-a", "node-b"]
    assert [part.name for part in march.models] == ["llama3.1-8b", "qwen3"]
    assert {rate.model for rate in march.rates} == {"", "qwen3"}
    last = Line.objects.get(day=date(2026, 3, 31))
    assert march.entered_later.payable_usd == last.payable_usd > 0  # final on 9 April
    assert march.running.receipts == 0


def test_what_is_held_is_explained_as_of_the_end_of_the_month(operator: User, node: Node) -> None:
    march = content(operator)
    assert [(each.rule, each.cause, each.receipts) for each in march.ledger.held] == [
        ("implausible", "speed", 1)
    ]
    assert march.ledger.held[0].fees_usd == march.ledger.closing(Account.HELD)
    assert content(operator, FEBRUARY).ledger.held == []


def test_the_document_prints_every_digit_and_names_wallet_and_payment(operator: User, node: Node) -> None:
    march = content(operator)
    text = text_of(render(march))
    payment = Payment.objects.get()
    for amount in (
        march.whole.payable_usd,
        march.ledger.closing(*OWED),
        march.ledger.closing(Account.HELD),
        payment.sum_usd,
        payment.carried_out_usd,
    ):
        assert exact_usd(amount) in text
    assert payment.address in text and f"1-{payment.pk}" in text
    assert "Ours &amp; Co" in text and "Rivals" not in text and "rival" not in text
    assert march.root_hash is not None and march.root_hash.hex() in text
    assert "Too many tokens per second" in text
    assert "an estimate and no claim" in text
    assert "Preliminary" not in text


def test_the_root_hash_is_that_of_the_sorted_lines_of_all_receipts(operator: User, node: Node) -> None:
    lines = sorted(
        f"jatevo/receipt/v1 {item.node_id} {item.request_id} {bytes(item.sha256).hex()}".encode()
        for item in Item.objects.filter(org=operator.org, day__range=(date(2026, 3, 1), date(2026, 3, 31)))
    )
    assert len(lines) == 6
    assert content(operator).root_hash == tree_hash(lines)


def test_receipts_sort_by_their_bytes_whatever_the_database_s_collation(operator: User, node: Node) -> None:
    for name in ("r_Z", "r_a", "r.a", "r", "r-1", "r~", "R"):
        earn(node, MARCH, request_id=name)
    earn(Node.objects.get(pk="node-b"), MARCH, request_id="r")
    lines = sorted(
        f"jatevo/receipt/v1 {item.node_id} {item.request_id} {bytes(item.sha256).hex()}".encode()
        for item in Item.objects.filter(org=operator.org, day__range=(date(2026, 3, 1), date(2026, 3, 31)))
    )
    found = statement_content(node.org, MARCH_MONTH, at=AFTER, preliminary=True)
    assert found.root_hash == tree_hash(lines)


def test_the_printed_program_finds_the_printed_hash_in_the_export(
    operator: User, node: Node, tmp_path: Path
) -> None:
    answer = (
        Browser()
        .hold_session(operator)
        .get("/earnings/export/receipts.csv", {"from": "2026-03-01", "to": "2026-03-31"})
    )
    (tmp_path / "receipts.csv").write_bytes(answer.getvalue())
    (tmp_path / "check.py").write_text(PROGRAM)
    ran = subprocess.run(
        [sys.executable, "check.py", "receipts.csv"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    root = content(operator).root_hash
    assert root is not None and ran.stdout.strip() == root.hex()
    assert PROGRAM.splitlines()[0] in render(content(operator)).decode()


def test_amounts_that_are_not_final_are_in_their_own_section_and_in_no_balance(
    operator: User, node: Node
) -> None:
    running = earn(
        node, datetime(2026, 3, 30, 12, tzinfo=UTC), tokens_input=7_000_000, request_id="r_running"
    )
    before = content(operator)
    assert before.running.payable_usd == running.fee_usd
    text = text_of(preliminary(org=node.org, month=MARCH_MONTH, at=AFTER))
    assert f"{exact_usd(running.fee_usd)} in fees and $0.00 held, of 1 receipt, are not final" in text
    assert "Preliminary" in text
    assert not Movement.objects.filter(line=running.line).exists()


def test_a_ledger_that_contradicts_its_verdicts_gives_no_statement(operator: User, node: Node) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE earnings_movement SET amount_usd = amount_usd + 1 WHERE kind = 'hold'")
        cursor.execute("SET session_replication_role = DEFAULT")
    with pytest.raises(StatementDoesNotAddUp):
        content(operator)


def test_lines_beyond_the_printed_ones_are_counted(
    operator: User, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earnings.statements.content.MOST_LINES", 1)
    march = content(operator)
    assert (len(march.lines), march.lines_left_out) == (1, 2)
    assert "2 more lines are not printed" in text_of(render(march))


def test_a_long_preliminary_statement_leaves_the_hash_to_the_final_one(
    operator: User, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earnings.statements.content.MOST_HASHED", 1)
    text = text_of(preliminary(org=node.org, month=MARCH_MONTH, at=AFTER))
    assert "computed for the final statement" in text


def test_the_document_needs_nothing_besides_itself(operator: User, node: Node) -> None:
    body = render(content(operator)).decode()
    assert not re.search(r"<script|<link|<img|src=|href=| style=|@import|url\(", body)
    assert hashlib.sha256(body.encode()).digest() == hashlib.sha256(render(content(operator))).digest()
    assert exact(Decimal("1E-16")) == "0.0000000000000001"
