"""earnings_fsck: sound books pass, and each kind of corruption is found and named.

The corruptions are made as somebody could who owns the database: with its triggers off.
"""

import json
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from earnings.accrual.fsck import examine
from earnings.accrual.fsck_items import ITEM_CHECKS
from earnings.accrual.fsck_ledger import LEDGER_CHECKS
from earnings.models import Line
from earnings.rules.periods import Month
from earnings.statements.storing import store_statement
from nodes.models import Node
from tests.earnings.rows import earn, finalise, judge, make_rate, move, pay_out
from tests.factories import NodeFactory, ReceiptFactory

pytestmark = pytest.mark.django_db

FEBRUARY = datetime(2026, 2, 27, 23, 59, 50, tzinfo=UTC)
MARCH = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def books() -> Node:
    """Two organisations: final and running days, all verdicts, a payout with a carried part, a stored statement."""
    node, other = NodeFactory.create(id="node-a"), NodeFactory.create(id="node-b")
    make_rate(cache_hit_discount="0.25")
    make_rate("qwen3", input_usd="0.333333", output_usd="1.000001")
    for number in range(3):
        earn(
            node, FEBRUARY, tokens_input=100_000_001 + number, request_id=f"r_{number}", confirmed=number == 1
        )
        earn(other, MARCH, model="QWEN3:latest", cache_hit=True, request_id=f"o_{number}")
    earn(node, FEBRUARY, state="held", rule="late", cause="late", request_id="r_late")
    wrong = earn(node, FEBRUARY, state="held", rule="implausible", cause="speed", with_receipt=False)
    judge(wrong, "excluded", rule="implausible", at=MARCH, actor="admin@example.org", reason="impossible")
    finalise(date(2026, 2, 27))
    freed = earn(node, MARCH, state="held", rule="late", cause="late", request_id="r_freed")
    finalise(MARCH.date())
    judge(freed, "payable", at=MARCH + timedelta(days=20), actor="admin@example.org", reason="explained")
    move(freed.line, "release", "held", "accrued", freed.fee_usd, at=MARCH + timedelta(days=20))
    pay_out(Line.objects.filter(node=node), at=MARCH + timedelta(days=27))
    earn(node, MARCH + timedelta(days=40), request_id="r_running")
    ReceiptFactory(node=node, at=MARCH + timedelta(days=41), request_id="r_waiting")
    store_statement(org=node.org, month=Month(2026, 2), at=datetime(2026, 3, 14, tzinfo=UTC))
    return node


def test_what_waits_for_the_accrual_is_not_judged_again(books: Node) -> None:
    corrupt("UPDATE earnings_item SET in_service = false WHERE request_id = 'o_1'")
    assert "rules" in failures()
    corrupt("INSERT INTO earnings_recheckday (node_id, day) VALUES ('node-b', '2026-03-04')")
    assert "rules" not in failures()


def failures(**options: Any) -> dict[str, str]:
    """The failed checks, each with what it found."""
    return {
        result.key: "; ".join(f"{each.subject}: {each.detail}" for each in result.findings)
        for result in examine(**options)
        if not result.ok
    }


def corrupt(sql: str) -> None:
    """Does what triggers would refuse."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET session_replication_role = replica")
        for one in sql.split(";"):
            cursor.execute(one)
        assert cursor.rowcount > 0, "the corruption changed nothing"
        cursor.execute("SET session_replication_role = DEFAULT")


def test_sound_books_pass(books: Node) -> None:
    assert failures(full=True) == {}


CORRUPTIONS = {
    "receipts": [
        ("DELETE FROM receipts_unjudged", "node-a/r_waiting: has no item"),
        ("INSERT INTO receipts_unjudged SELECT id, accepted_at, node_id, request_id FROM receipts_receipt"
         " WHERE request_id = 'r_1'", "node-a/r_1: has an item and still waits"),
    ],
    "items": [
        ("UPDATE earnings_item SET sha256 = sha256('x') WHERE request_id = 'r_1'", "node-a/r_1: its SHA-256"),
        ("UPDATE earnings_item SET request_id = 'r_x' WHERE request_id = 'r_1'", "node-a/r_x: there is no such receipt"),
        ("UPDATE earnings_item SET accepted_at = accepted_at + interval '1 s' WHERE request_id = 'r_1'",
         "node-a/r_1: its receipt was accepted at another time"),
        ("UPDATE earnings_item SET tokens_input = 1 WHERE request_id = 'r_1'", "node-a/r_1: its time, tokens or flags"),
        ("UPDATE earnings_item SET (request_id, node_id, sha256, accepted_at) ="
         " (SELECT request_id, node_id, sha256, accepted_at FROM earnings_item WHERE request_id = 'r_1')"
         " WHERE request_id = 'r_freed'", "node-a/r_1: has 2 items"),
    ],
    "verdicts": [
        ("DELETE FROM earnings_verdict WHERE receipt_id ="
         " (SELECT receipt_id FROM earnings_item WHERE request_id = 'r_1')", "node-a/r_1: has no verdict"),
        ("INSERT INTO earnings_verdict (day, receipt_id, at, state, rule, cause, confirmed, actor, reason)"
         " VALUES ('2026-03-04', 7, now(), 'payable', '', '', false, '', '')", "receipt 7: has a verdict but no item"),
    ],
    "item_lines": [
        ("UPDATE earnings_item SET line_id = 0 WHERE request_id = 'r_1'", "node-a/r_1: its line 0 does not exist"),
        ("UPDATE earnings_item SET line_id = (SELECT line_id FROM earnings_item WHERE request_id = 'o_1')"
         " WHERE request_id = 'r_1'", "node-a/r_1: line"),
    ],
    "rates": [
        ("UPDATE earnings_item SET rate_id = 0 WHERE request_id = 'r_1'", "node-a/r_1: has rate 0 and not"),
    ],
    "lines": [
        ("UPDATE earnings_line SET payable_usd = payable_usd + 0.0000000000000001"
         " WHERE node_id = 'node-a' AND day = '2026-02-27'", "(node-a, 2026-02-27)"),
        ("UPDATE earnings_line SET tokens_output = 0 WHERE node_id = 'node-b'", "(node-b, 2026-03-04)"),
        ("UPDATE earnings_item SET fee_usd = 0 WHERE request_id = 'r_late'", "(node-a, 2026-02-27)"),
        ("INSERT INTO earnings_line (node_id, org_id, day, model, rate_id, receipts, tokens_input, tokens_output,"
         " payable_receipts, payable_usd, confirmed_usd, held_receipts, held_usd, excluded_receipts, excluded_usd)"
         " SELECT node_id, org_id, '2026-03-01', model, rate_id, 1, 1, 1, 1, 5, 0, 0, 0, 0, 0 FROM earnings_line"
         " LIMIT 1", "its items nothing"),
    ],
    "held_items": [
        ("DELETE FROM earnings_helditem", "is held but not listed"),
        ("UPDATE earnings_helditem SET receipt_id = 8", "receipt 8: is listed but not held"),
        ("UPDATE earnings_helditem SET fee_usd = 1", "is listed with another rule, fee, node or line"),
    ],
    "held_totals": [
        ("UPDATE earnings_heldtotal SET receipts = 7", "day 2026-"),
        ("UPDATE earnings_heldtotal SET fees_usd = 7", "total 7.0"),
        ("DELETE FROM earnings_heldtotal", "total 0, its receipts"),
        ("DELETE FROM earnings_helditem", "its receipts 0"),
    ],
    "final_lines": [
        ("UPDATE earnings_linebalance SET held = 0 WHERE held > 0", "held, the ledger"),
        ("UPDATE earnings_line SET final_at = NULL WHERE node_id = 'node-b'", "is not final but has movements"),
        ("DELETE FROM earnings_finalday WHERE day = '2026-02-27'", "is final, but its day is not"),
    ],
    "final_days": [
        ("INSERT INTO earnings_finalday SELECT max(day), now() FROM earnings_line", "is not final, but its day is"),
    ],
    "totals": [
        ("UPDATE earnings_nodetotal SET held_usd = 7 WHERE node_id = 'node-b'", "node node-b, organisation"),
        ("DELETE FROM earnings_nodetotal WHERE node_id = 'node-b'", "node node-b, organisation"),
        ("UPDATE earnings_daytotal SET tokens_input = 7 WHERE model = 'qwen3'", "day 2026-03-04, organisation"),
        ("DELETE FROM earnings_daytotal WHERE model = 'qwen3'", "qwen3: total 0, its lines"),
        ("UPDATE earnings_orgdaytotal SET held_receipts = 7", "day 2026-03-04, organisation"),
        ("DELETE FROM earnings_orgdaytotal", "total 0, its lines"),
        ("UPDATE earnings_networkdaytotal SET tokens_input = 7 WHERE model = 'qwen3'", "day 2026-03-04, qwen3"),
        ("DELETE FROM earnings_networkdaytotal WHERE model = 'qwen3'", "day 2026-03-04, qwen3: total 0, its lines"),
    ],
    "line_balances": [
        ("UPDATE earnings_linebalance SET exported = exported + 0.0000000000000001", "(accrued, held, ready, exported)"),
        ("DELETE FROM earnings_linebalance", "balance 0 0 0 0"),
        ("UPDATE earnings_movement SET amount_usd = amount_usd + 1 WHERE kind = 'accrue'", "movements"),
    ],
    "node_balances": [
        ("UPDATE earnings_nodebalance SET accrued = 7 WHERE node_id = 'node-b'", "node node-b: balance 7.0"),
        ("DELETE FROM earnings_movement WHERE kind = 'carry_out'", "(accrued, held, ready, exported, carried)"),
        ("DELETE FROM earnings_nodebalance WHERE node_id IS NULL", "balance 0 0 0 0 0"),
    ],
    "open_balances": [
        ("UPDATE earnings_nodebalance SET owed = -7 WHERE node_id = 'node-b'", "node node-b: balance -7.0"),
        ("UPDATE earnings_nodebalance SET ready_unconfirmed = 7 WHERE node_id = 'node-b'", "(owed, unconfirmed, ready and"),
        ("UPDATE earnings_linebalance SET unconfirmed = unconfirmed + 7", "unconfirmed, the line"),
    ],
    "routes": [
        ("ALTER TABLE earnings_movement DROP CONSTRAINT movement_route_known;"
         "UPDATE earnings_movement SET from_account = 'network' WHERE kind = 'ready'", "ready from network to ready"),
        ("UPDATE earnings_movement SET node_id = 'node-b' WHERE kind = 'ready'", "is of another node or organisation"),
    ],
    "payments": [
        ("ALTER TABLE earnings_payment DROP CONSTRAINT payment_adds_up;"
         "UPDATE earnings_payment SET paid_usd = paid_usd + 1", "of export 1: says"),
        ("UPDATE earnings_movement SET payment_id = NULL WHERE kind = 'export'", "of export 1: says"),
    ],
    "carried": [
        ("UPDATE earnings_nodebalance SET carried = -0.001 WHERE node_id IS NULL", "carries -0.001"),
    ],
    "exports": [
        ("UPDATE earnings_exportfile SET body = 'x'", "export 1: its SHA-256"),
        ("UPDATE earnings_exportfile SET total_usd = 0", "export 1: says 1 payments of 0.00"),
        ("UPDATE earnings_exportfile SET number = 3; UPDATE earnings_payment SET export_id = 3", "export 3: there is no export 2"),
    ],
    "statements": [
        ("UPDATE earnings_statement SET body = 'x'", ", 2026-02: its SHA-256"),
        ("UPDATE earnings_movement SET at = '2026-02-28 12:00Z', recorded_at = now() WHERE kind = 'accrue'", "was dated into it afterwards"),
        ("UPDATE earnings_line SET final_at = NULL WHERE day = '2026-02-27'", "its month was not final"),
    ],
    "statement_balances": [
        ("UPDATE earnings_statement SET balances = jsonb_set(balances, '{closing,held}', '\"7\"')",
         ", 2026-02: prints 7 held at its end, the ledger"),
        ("UPDATE earnings_statement SET balances = jsonb_set(balances, '{opening,accrued}', '\"7\"')",
         ", 2026-02: prints 7 accrued at its start, the ledger 0"),
        ("UPDATE earnings_statement SET balances = '{}'", ", 2026-02: prints no accrued at its start"),
    ],
    "months": [
        ("UPDATE earnings_movement SET amount_usd = amount_usd * 2 WHERE kind = 'hold'", "the months close with"),
    ],
    "rules": [
        ("UPDATE earnings_verdict SET state = 'excluded', rule = 'outcome', cause = 'failed' WHERE receipt_id ="
         " (SELECT receipt_id FROM earnings_item WHERE request_id = 'o_1')",
         "node-b/o_1: was judged excluded outcome failed unconfirmed by the rules, by the rules it is payable"),
        ("UPDATE earnings_item SET in_service = false WHERE request_id = 'o_1'",
         "by the rules it is excluded in_service not_in_service unconfirmed by the rules"),
        ("UPDATE earnings_verdict SET actor = '' WHERE actor <> '' AND state = 'payable'",
         "node-a/r_freed: was judged payable unconfirmed by the rules, by the rules it is held late late"),
    ],
    "fees": [
        ("UPDATE earnings_item SET fee_usd = fee_usd + 0.0000000000000001 WHERE request_id = 'o_1'", "node-b/o_1: costs"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("check", "sql", "found"),
    [(check, sql, found) for check, all_of_it in CORRUPTIONS.items() for sql, found in all_of_it],
)
def test_each_corruption_is_found_and_named(books: Node, check: str, sql: str, found: str) -> None:
    corrupt(sql)
    failed = failures()
    assert check in failed, failed
    assert found in failed[check]


def test_every_check_has_a_corruption() -> None:
    assert {check.key for check in (*ITEM_CHECKS, *LEDGER_CHECKS)} | {"fees", "rules"} == set(CORRUPTIONS)


def test_since_leaves_out_items_of_earlier_days(books: Node) -> None:
    corrupt("UPDATE earnings_item SET sha256 = sha256('x') WHERE request_id IN ('r_1', 'o_1')")
    assert "node-a/r_1" not in failures(since=date(2026, 3, 4))["items"]
    assert "node-b/o_1" in failures(since=date(2026, 3, 4))["items"]
    assert "items" not in failures(since=date(2026, 3, 5))


def test_findings_beyond_the_first_are_counted(books: Node) -> None:
    for number in range(25):
        ReceiptFactory(node=books, at=MARCH, request_id=f"lost_{number}")
    corrupt("DELETE FROM receipts_unjudged")
    (result,) = [each for each in examine() if not each.ok]
    assert (result.key, result.count, len(result.findings)) == ("receipts", 26, 20)


def test_command_passes_sound_books(books: Node) -> None:
    out = StringIO()
    call_command("earnings_fsck", stdout=out)
    assert "checks passed" in out.getvalue()


def test_command_fails_with_what_it_found(books: Node) -> None:
    corrupt("UPDATE earnings_exportfile SET body = 'x'")
    out = StringIO()
    with pytest.raises(CommandError, match=r"1 of \d+ checks failed: exports") as refused:
        call_command("earnings_fsck", stdout=out)
    assert refused.value.returncode == 1
    assert "FAILED exports" in out.getvalue()
    assert "export 1: its SHA-256 is not that of its body" in out.getvalue()


def test_command_prints_json(books: Node) -> None:
    corrupt("UPDATE earnings_exportfile SET body = 'x'")
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("earnings_fsck", "--json", "--full", "--since", "2026-03-01", stdout=out)
    answer = json.loads(out.getvalue())
    assert answer["ok"] is False
    (failed,) = [check for check in answer["checks"] if not check["ok"]]
    assert failed["key"] == "exports"
    assert failed["findings"] == [{"subject": "export 1", "detail": "its SHA-256 is not that of its body"}]


@pytest.mark.django_db(transaction=True)
def test_examines_one_snapshot_and_cannot_write() -> None:
    earn(NodeFactory.create(), MARCH)
    checks = examine()
    assert next(checks).ok
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("repeatable read",)
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("on",)
    assert all(result.ok for result in checks)
