"""Correlated outages: what counts, which nodes are named, and what chance would produce."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from jatevo.accounts.models import Org, Role, User
from nodes.detail.correlation import (
    WINDOW,
    CorrelatedNodes,
    Correlation,
    chance_of_at_least,
    correlation,
    in_words,
)
from nodes.models import Node, NodeTransition
from nodes.rules.lifecycle import Reason
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, OrgFactory

pytestmark = pytest.mark.django_db
AT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def owner(org: Org) -> User:
    return make_user(Role.OPERATOR, org=org)


@pytest.fixture
def node(org: Org) -> Node:
    return _node("ours", org)


def _node(name: str, org: Org, *, asn: str = "AS64500", region: str = "eu-west") -> Node:
    made: Node = NodeFactory.create(id=name, org=org, asn_hint=asn, region=region)
    return made


def offline(node: Node, at: datetime, reason: Reason = Reason.NO_HEARTBEAT) -> None:
    for moment, before, after in ((at, "active", "offline"), (at + 10 * MINUTE, "offline", "probing")):
        NodeTransition.objects.create(
            node=node, at=moment, from_status=before, to_status=after, reason=reason,
            actor_kind="system", actor_id="console",
        )  # fmt: skip


def groups_of(found: Correlation) -> dict[str, CorrelatedNodes]:
    return {group.label: group for group in found.groups}


def test_a_node_without_outages_is_said_to_have_none(node: Node, owner: User) -> None:
    offline(node, AT - WINDOW - HOUR)
    offline(node, AT - HOUR, reason=Reason.MAINTENANCE)
    assert correlation(node, owner, at=AT) == Correlation(0, [])


def test_outages_that_began_within_two_minutes_coincide(node: Node, owner: User, org: Org) -> None:
    neighbour, later = _node("neighbour", org), _node("later", org)
    for days in (1, 2, 3):
        offline(node, AT - timedelta(days=days))
    offline(neighbour, AT - timedelta(days=1) + 2 * MINUTE)
    offline(neighbour, AT - timedelta(days=2) - 2 * MINUTE)
    offline(later, AT - timedelta(days=1) + 3 * MINUTE)
    offline(later, AT - timedelta(days=3), reason=Reason.MAINTENANCE)
    network = groups_of(correlation(node, owner, at=AT))["Network"]
    assert [(each.name, each.coinciding) for each in network.companions] == [("neighbour", 2)]
    assert (network.others, network.outages, network.together, network.coinciding) == (2, 3, 2, 0)


def test_an_outage_of_the_whole_network_is_distinguished_from_chance(
    node: Node, owner: User, org: Org
) -> None:
    others = [_node(f"n{number}", org, region=f"r-{number}") for number in range(4)]
    for days in (1, 5):
        for each in (node, *others):
            offline(each, AT - timedelta(days=days))
    found = correlation(node, owner, at=AT)
    network = groups_of(found)["Network"]
    assert (network.coinciding, network.outages, network.others) == (2, 2, 4)
    assert network.expected < 0.01
    assert network.shared_cause
    assert network.companions[0].expected == pytest.approx(2 * chance_of_at_least(1, 2 * 4 / (14 * 1440)))
    assert "Region" not in groups_of(found)  # no other node is in it


def test_nodes_elsewhere_are_not_compared_with(node: Node, owner: User, org: Org) -> None:
    stranger = _node("elsewhere", org, asn="AS64999", region="us-east")
    _node("beside", org)
    for each in (node, stranger):
        offline(each, AT - HOUR)
    assert all(not group.companions for group in correlation(node, owner, at=AT).groups)


def test_nodes_without_a_stated_network_are_no_network(owner: User, org: Org) -> None:
    one, other = _node("one", org, asn=""), _node("other", org, asn="")
    for each in (one, other):
        offline(each, AT - HOUR)
    assert set(groups_of(correlation(one, owner, at=AT))) == {"Region"}


def test_nodes_of_others_are_a_number_to_an_operator_and_a_name_to_an_admin(node: Node, owner: User) -> None:
    rival = _node("rival", OrgFactory.create())
    for each in (node, rival):
        offline(each, AT - HOUR)
    network = groups_of(correlation(node, owner, at=AT))["Network"]
    assert (network.companions, network.strangers, network.coinciding) == ([], 1, 1)
    network = groups_of(correlation(node, make_user(Role.ADMIN), at=AT))["Network"]
    assert [each.name for each in network.companions] == ["rival"]
    assert network.strangers == 0


def test_chance_is_that_of_poisson() -> None:
    assert chance_of_at_least(1, 0) == 0
    assert chance_of_at_least(0, 3) == 1
    assert chance_of_at_least(1, 1) == pytest.approx(0.632, abs=0.001)
    assert chance_of_at_least(2, 1) == pytest.approx(0.264, abs=0.001)


def test_a_small_chance_is_not_said_to_be_none() -> None:
    assert [in_words(each) for each in (0.0, 0.049, 0.05, 1.26)] == ["under 0.1", "under 0.1", "0.1", "1.3"]


def test_the_history_tab_shows_it_only_to_the_owner(node: Node, owner: User, org: Org) -> None:
    rival = _node("rival", OrgFactory.create())
    Node.objects.filter(pk=node.pk).update(shared=True)
    for each in (node, _node("neighbour", org), rival):
        offline(each, timezone.now() - HOUR)
    page = text_of(Browser().hold_session(owner).get(f"/nodes/{node.pk}/?tab=history"))
    assert (
        "1 of 1 outage began within 2 minutes of those of 2 others or more. By chance, under 0.1 would be expected."
        in page
    )
    assert 'href="/nodes/neighbour/"' in page
    assert "1 node of other operators" in page
    assert "rival" not in page
    for stranger in (Browser(), Browser().hold_session(make_user(Role.VIEWER))):
        page = text_of(stranger.get(f"/nodes/{node.pseudonym}/?tab=history"))
        assert "outage" not in page.lower()
        assert "AS64500" not in page


@pytest.mark.parametrize("alone", [True, False])
def test_a_comparison_without_a_known_network_says_that_it_is_half_of_one(
    owner: User, org: Org, alone: bool
) -> None:
    node = _node("ours", org, asn="")
    if not alone:
        _node("near", org, asn="")
    offline(node, timezone.now() - HOUR)
    browser = Browser().hold_session(owner)
    said = "The network (ASN) of this node is unknown. An admin can enter it."
    assert said in text_of(browser.get(f"/nodes/{node.pk}/?tab=history"))
    Node.objects.filter(pk=node.pk).update(asn_hint="AS64500")
    assert said not in text_of(browser.get(f"/nodes/{node.pk}/?tab=history"))


def test_its_queries_do_not_grow_with_the_network(
    node: Node, owner: User, org: Org, django_assert_num_queries: object
) -> None:
    for number in range(12):
        offline(_node(f"n{number}", org), AT - HOUR)
    offline(node, AT - HOUR)
    with django_assert_num_queries(4):  # type: ignore[operator]
        correlation(node, owner, at=AT)
    with django_assert_num_queries(3):  # type: ignore[operator]
        correlation(node, owner, at=AT)  # the totals are kept
