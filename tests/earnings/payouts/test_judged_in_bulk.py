"""Judging all nodes in the database: the same answers as node by node, and balances that follow every change."""

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from earnings.accrual.fsck import examine
from earnings.models import Line, LineBalance, NodeBalance, Policy, Wallet
from earnings.payouts import Preview, judge_all, mark_ready, preview, preview_judged, withdraw
from jatevo.accounts.models import Org, User
from nodes.actions import suspect
from nodes.models import Node
from tests.earnings.payouts.earners import ADDRESSES, LONG_SINCE, earner, final_line, owes, wallet
from tests.earnings.rows import move
from tests.factories import OrgFactory

pytestmark = pytest.mark.django_db


def propose(org: Org, node: Node | None = None) -> None:
    Wallet.objects.create(
        org=org, node=node, chain="solana", address=ADDRESSES[2], state="proposed", set_by="agent"
    )


def some_network(pick: random.Random, admin: User) -> None:
    """Nodes with every kind of balance, wallet, finding and payout that a rule asks about."""
    now = timezone.now()
    orgs = [OrgFactory.create() for _ in range(4)]
    for org, address in zip(orgs, (ADDRESSES[0], ADDRESSES[0], ADDRESSES[1], ""), strict=True):
        if address:  # two organisations may be paid to one address
            waits = pick.choice([LONG_SINCE, now + timedelta(hours=1)])
            wallet(org, address=address, payouts_from=pick.choice([LONG_SINCE, LONG_SINCE, waits]))
        elif pick.random() < 0.5:
            propose(org)
    nodes = []
    for number in range(24):
        org = pick.choice(orgs)
        node = earner(
            org,
            pick.choice(["0.004", "9.9999999999999999", "10", "55.5", "700", "1000.0000000000000001"]),
            reputation=pick.choice([None, 20, 50, 90, 90, 90]),
            confirmed=pick.random() < 0.6,
            id=f"node-{number:02}",
        )
        nodes.append(node)
        for _ in range(pick.randrange(3)):
            final_line(node, pick.choice(["3", "250"]), confirmed=pick.random() < 0.6,
                       final_at=now - timedelta(days=pick.choice([1, 4, 9])))  # fmt: skip
        match pick.randrange(8):
            case 0:
                owes(node, pick.choice(["2", "5000"]))
            case 1:
                wallet(org, node=node, address=ADDRESSES[2])
            case 2:
                propose(org, node)
            case 3:
                suspect(node=node, by=admin, at=now, doubtful_from=now, reason="forged")
            case 4:
                final_line(node, "40", org=pick.choice(orgs))
    marked = mark_ready(
        nodes=pick.sample([each.pk for each in nodes], 8),
        by=admin,
        at=now,
        reason="November",
        override=["reputation"],
    )
    for payout in marked.payouts[:2]:
        withdraw(payout=payout, by=admin, at=now, reason="again")
    for payout in marked.payouts[2:4]:
        final_line(payout.node, "30")
        owes(payout.node, "1")


def answers(found: Preview) -> tuple[Any, ...]:
    return *found.candidate.key, found.possible, found.second.needed, found.amount_usd


@pytest.mark.parametrize("seed", range(6))
def test_all_at_once_is_judged_like_node_by_node(seed: int, admin: User, second_admin: User) -> None:
    pick = random.Random(seed)
    Policy.objects.create(
        holds_from=timezone.now() - timedelta(hours=1),
        created_by="test",
        hold_days=(0, 3)[seed % 2],
        threshold_usd=(10, 0)[seed % 3 == 2],
        confirm_from_usd=pick.choice([None, 700, 1000]),
        confirm_unconfirmed=seed < 4,
        confirm_overrides=True,
    )
    some_network(pick, admin)
    now = timezone.now()
    singly = [each for each in preview(nodes=None, at=now) if each.candidate.open_payout_id is None]
    singly.sort(key=lambda each: (not each.possible, -each.amount_usd, each.candidate.node_id))
    judged = judge_all(at=now)
    assert [each[:5] for each in judged] == [answers(each) for each in singly]
    assert {each.possible for each in judged} == {True, False}
    assert any(each.second_needed for each in judged) or seed >= 4
    # a page of them says the same of each node, in the same order
    assert preview_judged(judged[3:9], at=now) == singly[3:9]


def test_what_balances_say_of_a_node_follows_its_lines(org: Org, admin: User) -> None:
    wallet(org)
    node = earner(org, "50", confirmed=False)
    line = final_line(node, "10")
    assert kept(node) == (0, 50, 0)
    # verdicts change what of the lines is confirmed
    Line.objects.filter(node=node).exclude(pk=line.pk).update(confirmed_usd=Decimal("49.9"))
    Line.objects.filter(pk=line.pk).update(confirmed_usd=F("payable_usd") - 4)
    assert kept(node) == (0, Decimal("4.1"), 0)
    mark_ready(nodes=[node.pk], by=admin, at=timezone.now(), reason="November")
    assert kept(node) == (0, 0, Decimal("4.1"))
    move(line, "exclude", "accrued", "network", "3", at=timezone.now())
    assert kept(node) == (-3, 0, Decimal("4.1"))
    assert next(each for each in examine() if each.key == "open_balances").ok
    with connection.cursor() as cursor, pytest.raises(Exception, match="kept by the ledger"):
        cursor.execute("UPDATE earnings_nodebalance SET unconfirmed = 0")


def kept(node: Node) -> tuple[Decimal, Decimal, Decimal]:
    found = NodeBalance.objects.get(node=node)
    lines = LineBalance.objects.filter(line__node=node).select_related("line")
    assert all(each.unconfirmed == each.line.payable_usd - each.line.confirmed_usd for each in lines)
    return found.owed, found.unconfirmed, found.ready_unconfirmed
