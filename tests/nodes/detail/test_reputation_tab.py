"""/nodes/<id>/?tab=reputation through the front door: its figures add up and its forecasts are right."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape

import pytest
import time_machine

from jatevo.accounts.models import Org, Role
from nodes.actions import declare, note_outage, recompute, recompute_days
from nodes.detail.reputation_tab import reputation_panel
from nodes.models import Node, NodeHour, ReputationClock, ReputationDay
from nodes.reputation.days import days_of
from nodes.reputation.formula import EvidenceDay, Observation, ObservationKind, reputation
from nodes.rules.lifecycle import Status
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, UserFactory

pytestmark = pytest.mark.django_db
MIDNIGHT = datetime(2026, 6, 14, tzinfo=UTC)
NOW = MIDNIGHT + timedelta(hours=10, minutes=2)  # ten hours are settled
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ALL_HOUR = (1 << 60) - 1
USUAL = {"heard": ALL_HOUR, "health_passed": 60, "audits_passed": 1, "latency_passed": 60}


@pytest.fixture
def node(org: Org) -> Node:
    """A node with nine whole days and ten hours. On two days it fails something of every kind."""
    made: Node = NodeFactory.create(
        id="macbook-001", org=org, status=Status.ACTIVE, first_heard_at=MIDNIGHT - 9 * DAY
    )
    NodeHour.objects.bulk_create(
        NodeHour(node=made, hour=MIDNIGHT + HOUR * number, **USUAL) for number in range(-9 * 24, 10)
    )
    for days_ago in (2, 5):
        NodeHour.objects.filter(hour=MIDNIGHT - days_ago * DAY + 3 * HOUR).update(
            heard=1, health_failed=30, health_passed=30, audits_failed=1, audits_passed=0, latency_slow=40, latency_passed=20
        )  # fmt: skip
    recompute_days(since=MIDNIGHT - 9 * DAY, until=NOW, at=NOW, node_ids=None)
    recompute(at=NOW)
    return made


def page_of(node: Node) -> str:
    with time_machine.travel(NOW, tick=False):
        browser = Browser().hold_session(make_user(Role.OPERATOR, org=node.org))
        return unescape(text_of(browser.get(f"/nodes/{node.pk}/?tab=reputation")))


def words_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_points_on_the_page_and_r_add_up_to_a_hundred(node: Node) -> None:
    words = words_of(page_of(node))
    (r,) = re.findall(r"([\d.]+) of 100\b", words)
    lost = [Decimal(points) for points in re.findall(r"lost -(\d+\.\d\d)", words)]
    assert len(lost) >= 8
    assert Decimal(r) + sum(lost) == 100
    node.refresh_from_db()
    assert Decimal(r) == node.reputation
    assert f"100 - {100 - Decimal(r)} lost = {r}" in words


def test_causes_of_every_day_are_on_the_page(node: Node) -> None:
    words = words_of(page_of(node))
    for day in ("12 Jun 2026, expires on 26 Jun 2026", "9 Jun 2026, expires on 23 Jun 2026"):
        assert words.count(day) == 4
    assert words.count("59 of 1,440 minutes without a heartbeat") == 2


def test_what_would_it_take_is_what_the_days_bring(node: Node) -> None:
    words = words_of(page_of(node))
    told = re.findall(r"(\d+) clean days?, by the end of (\d+ \w+) ([\d.]+)", words)
    assert [(number, day) for number, day, _ in told] == [("1", "15 Jun"), ("3", "17 Jun"), ("7", "21 Jun")]
    NodeHour.objects.bulk_create(
        NodeHour(node=node, hour=MIDNIGHT + HOUR * number, **USUAL) for number in range(10, 8 * 24)
    )
    for number, _, r in told:
        end = MIDNIGHT + (int(number) + 1) * DAY
        for hours in range(24, (int(number) + 1) * 24, 24):
            recompute(at=MIDNIGHT + hours * HOUR + 3 * MINUTE)
        # all of the last day is known two minutes after it, before the first day leaves the window
        recompute_days(since=end - DAY, until=end - DAY, at=end + 3 * MINUTE, node_ids=None)
        last = (end - DAY).date()
        then = reputation(days_of(node.pk, today=last), today=last)
        assert then is not None
        assert then.r == Decimal(r)


def test_today_is_distinguished_from_earlier_days_when_the_job_lags(node: Node) -> None:
    """The evidence ends at ten o'clock, whatever the time of the request."""
    ReputationDay.objects.update(computed_at=NOW)
    early, late = (reputation_panel(node, at=NOW + later).outlook for later in (timedelta(0), 3 * HOUR))
    assert early == late


def test_a_cause_that_rounds_to_nothing_is_not_listed(org: Org) -> None:
    node = NodeFactory.create(org=org)
    for ago in range(14):
        seen = (
            Observation(ObservationKind.SILENCE, 0, 1440),
            Observation(ObservationKind.LATENCY, int(ago == 3), 100_000),
        )
        _store(node, EvidenceDay((MIDNIGHT - ago * DAY).date(), seen))
    ReputationClock.objects.create(last_run_at=NOW)
    words = words_of(page_of(node))
    assert "latency probes over the target" not in words
    (r,) = re.findall(r"([\d.]+) of 100\b", words)
    lost = [Decimal(points) for points in re.findall(r"lost -(\d+\.\d\d)", words)]
    assert Decimal(r) + sum(lost) == 100
    assert 0 not in lost


def _store(node: Node, day: EvidenceDay) -> None:
    evidence = {each.kind.value: {"failed": each.failed, "total": each.total} for each in day.observations}
    ReputationDay.objects.create(node=node, day=day.day, evidence=evidence, computed_at=NOW - DAY)


def test_it_says_when_all_was_computed_even_if_nothing_changed(node: Node) -> None:
    recompute(at=NOW + 5 * MINUTE)
    assert reputation_panel(node, at=NOW + 6 * MINUTE).computed_at == NOW + 5 * MINUTE


def test_incidents_are_listed_however_often_the_console_was_restarted(node: Node) -> None:
    declare(
        reference="incident:1",
        region="",
        starts_at=NOW - 9 * DAY,
        ends_at=NOW - 9 * DAY + HOUR,
        message="Singapore uplink",
        by=UserFactory.create(role=Role.ADMIN),
        at=NOW,
    )
    for number in range(30):
        since = NOW - number * HOUR
        note_outage(starts_at=since - 2 * MINUTE, ends_at=since, at=NOW)
    note_outage(
        starts_at=NOW - 20 * DAY, ends_at=NOW - 14 * DAY + 5 * MINUTE, at=NOW
    )  # five within the window
    words = words_of(page_of(node))
    assert "Incident : Singapore uplink" in words
    assert "Console outages : 31 in the last 14 days, 65 minutes in total" in words
    assert words.count("Console outage") == 1


def test_probation_is_shown_next_to_r(node: Node) -> None:
    Node.objects.update(pardoned_reputation="33.00")
    ReputationDay.objects.all().delete()
    _store(
        node,
        EvidenceDay(
            MIDNIGHT.date(),
            (Observation(ObservationKind.SILENCE, 1440, 1440), Observation(ObservationKind.AUDIT, 24, 24)),
        ),
    )
    for ago in range(1, 6):
        day = (MIDNIGHT - ago * DAY).date()
        _store(
            node,
            EvidenceDay(
                day,
                (
                    Observation(ObservationKind.SILENCE, 1440, 1440),
                    Observation(ObservationKind.AUDIT, 24, 24),
                ),
            ),
        )
    words = words_of(page_of(node))
    assert (
        "below 40, the quarantine threshold; cleared at 33.00, it is quarantined again only if it falls"
        in words
    )
