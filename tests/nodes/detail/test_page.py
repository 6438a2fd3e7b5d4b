"""/nodes/<id>/ through the front door: what each reader sees, on the page and in the drawer."""

from datetime import timedelta

import pytest
from django.utils import timezone
from guardian.shortcuts import assign_perm
from waffle.testutils import override_switch

from jatevo.accounts.models import Org, Role, User
from jatevo.flags.registry import Flag
from nodes.models import HeartbeatMinute, Node, NodeTransition, Probe
from nodes.rules.lifecycle import Reason, Status
from receipts.models import RefusalReason, RefusedReceipt
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory, ValidatorFactory

pytestmark = pytest.mark.django_db
TABS = ["metrics", "receipts", "hardware", "earnings", "reputation", "history"]
TORTURE = "</span><script>alert(1)</script>"


@pytest.fixture
def node(org: Org) -> Node:
    made: Node = NodeFactory.create(
        id="macbook-001",
        org=org,
        status=Status.ACTIVE,
        wallet_chain="solana",
        wallet_address="7xKXtg2CW87d97TX",
    )
    return made


def browser_of(user: User) -> Browser:
    return Browser().hold_session(user)


@pytest.fixture
def operator(org: Org) -> Browser:
    return browser_of(make_user(Role.OPERATOR, org=org))


@pytest.fixture
def admin() -> Browser:
    return browser_of(make_user(Role.ADMIN))


@pytest.fixture
def viewer(node: Node) -> Browser:
    """A viewer with a grant for the node, which its operator has shared."""
    user = make_user(Role.VIEWER)
    Node.objects.filter(pk=node.pk).update(shared=True)
    assign_perm("nodes.view_node", user, node)
    return browser_of(user)


@pytest.mark.parametrize("tab", ["", *TABS, "bogus"])
def test_every_tab_is_a_link_that_works_without_a_script(operator: Browser, node: Node, tab: str) -> None:
    page = text_of(operator.get(f"/nodes/{node.pk}/?tab={tab}"))
    for each in TABS:
        assert f'href="/nodes/{node.pk}/?tab={each}"' in page
    current = tab if tab in TABS else "metrics"
    assert f'id="tab-{current}" href="/nodes/{node.pk}/?tab={current}" aria-current="page"' in page


@pytest.mark.parametrize("path", ["", "quarantine/", "clear/", "token/", "maintenance/", "sharing/"])
def test_an_outsider_finds_nothing(node: Node, path: str) -> None:
    outsider = browser_of(make_user(Role.OPERATOR, org=OrgFactory.create()))
    answer = outsider.get(f"/nodes/{node.pk}/{path}")
    assert answer.status_code == (403 if path in ("quarantine/", "clear/") else 404)
    assert node.wallet_address not in answer.content.decode()


def test_a_viewer_without_a_share_finds_nothing(node: Node) -> None:
    assert browser_of(make_user(Role.VIEWER)).get(f"/nodes/{node.pk}/").status_code == 404


def test_a_visitor_is_sent_to_the_login_page_unless_the_overview_is_public(node: Node) -> None:
    Node.objects.filter(pk=node.pk).update(shared=True)
    node.refresh_from_db()
    assert Browser().get(f"/nodes/{node.pseudonym}/").status_code == 200
    with override_switch(Flag.ALLOW_ANONYMOUS_OVERVIEW.value, active=False):
        answer = Browser().get(f"/nodes/{node.pseudonym}/")
    assert answer["Location"] == f"/login/?next=/nodes/{node.pseudonym}/"


@pytest.mark.parametrize("path", ["/nodes/nobody/", "/nodes/UPPER/", "/nodes/a%00b/", f"/nodes/{'x' * 65}/"])
def test_what_does_not_exist_is_404(operator: Browser, path: str) -> None:
    assert operator.get(path).status_code == 404


def test_the_drawer_is_a_fragment_of_the_same_url(operator: Browser, node: Node) -> None:
    part = operator.get(f"/nodes/{node.pk}/", headers={"HX-Request": "true", "HX-Target": "drawer-body"})
    text = text_of(part)
    assert "<html" not in text
    assert 'id="drawer-title"' in text
    assert f'hx-get="/nodes/{node.pk}/?tab=receipts&amp;drawer=1"' in text
    assert "HX-Request" in part["Vary"]


def test_the_status_answers_a_poll_with_304_until_it_changes(operator: Browser, node: Node) -> None:
    asked = {"HX-Request": "true", "HX-Target": "node-status"}
    first = operator.get(f"/nodes/{node.pk}/", headers=asked)
    assert "In service" in text_of(first)
    assert "Heartbeats" not in text_of(first)
    asked["If-None-Match"] = first["ETag"]
    assert operator.get(f"/nodes/{node.pk}/", headers=asked).status_code == 304
    Node.objects.filter(pk=node.pk).update(status=Status.OFFLINE, status_reason=Reason.NO_HEARTBEAT)
    assert "No heartbeat for 5 minutes." in text_of(operator.get(f"/nodes/{node.pk}/", headers=asked))


def test_the_receipts_tab_answers_a_poll_with_304_until_one_comes(operator: Browser, node: Node) -> None:
    Node.objects.filter(pk=node.pk).update(created_at=timezone.now() - timedelta(days=1))
    asked = {"HX-Request": "true", "HX-Target": "node-tab"}
    first = operator.get(f"/nodes/{node.pk}/?tab=receipts", headers=asked)
    assert "No receipts yet" in text_of(first)
    asked["If-None-Match"] = first["ETag"]
    assert operator.get(f"/nodes/{node.pk}/?tab=receipts", headers=asked).status_code == 304
    ReceiptFactory(node=node, request_id="r_news")
    assert "r_news" in text_of(operator.get(f"/nodes/{node.pk}/?tab=receipts", headers=asked))


def test_only_the_live_part_polls_and_it_stays_in_the_drawer(operator: Browser, node: Node) -> None:
    asked = {"HX-Request": "true", "HX-Target": "node-live"}
    text = text_of(operator.get(f"/nodes/{node.pk}/?tab=history&drawer=1", headers=asked))
    assert "<html" not in text
    assert 'id="drawer-title"' not in text
    assert f'hx-get="/nodes/{node.pk}/?tab=history&amp;drawer=1"' in text


def test_the_wallet_and_endpoint_are_for_those_who_manage_the_node(
    operator: Browser, viewer: Browser, admin: Browser, node: Node
) -> None:
    for browser in (operator, admin):
        page = text_of(browser.get(f"/nodes/{node.pk}/?tab=hardware"))
        assert node.wallet_address in page
        assert node.endpoint in page
    page = text_of(viewer.get(f"/nodes/{node.pk}/?tab=hardware"))
    assert "Apple M3 Max" in page
    assert node.wallet_address not in page
    assert node.endpoint not in page


def test_a_viewer_sees_that_it_moved_but_not_who_moved_it(
    operator: Browser, viewer: Browser, node: Node
) -> None:
    NodeTransition.objects.create(
        node=node,
        at=timezone.now(),
        from_status="active",
        to_status="quarantine",
        reason=Reason.ADMIN,
        actor_kind="user",
        actor_id="boss@example.org",
        evidence={"note": "Sold to somebody else"},
    )
    page = text_of(operator.get(f"/nodes/{node.pk}/?tab=history"))
    assert "boss@example.org" in page
    assert "Sold to somebody else" in page
    page = text_of(viewer.get(f"/nodes/{node.pk}/?tab=history"))
    assert "By an admin" in page
    assert "boss@example.org" not in page
    assert "Sold to somebody else" not in page


def test_a_forged_receipt_is_explained_and_listed_for_its_owner(
    operator: Browser, viewer: Browser, node: Node
) -> None:
    Node.objects.filter(pk=node.pk).update(
        status=Status.QUARANTINE, status_reason=Reason.RECEIPT_FORGED, fraud=True
    )
    RefusedReceipt.objects.create(
        node=node,
        reason=RefusalReason.FORGED,
        request_id="r_forged",
        raw=b"{}",
        sha256=b"1" * 32,
        public_key=b"2" * 32,
        detail="wrong key",
    )
    page = text_of(operator.get(f"/nodes/{node.pk}/?tab=receipts"))
    assert "a receipt that none of its keys, current or former, has signed" in page
    assert "an admin must clear it" in page
    assert "r_forged" in page
    assert "1 receipt came" in page
    assert 'href="/receipts/~refused/?node=macbook-001&amp;reason=invalid_signature"' in page
    page = text_of(viewer.get(f"/nodes/{node.pk}/?tab=receipts"))
    assert "r_forged" not in page


def test_refused_receipts_are_listed_for_its_owner(operator: Browser, viewer: Browser, node: Node) -> None:
    assert "None of this node’s receipts was refused." in text_of(  # noqa: RUF001
        operator.get(f"/nodes/{node.pk}/?tab=receipts")
    )
    for number in range(6):
        refused = RefusedReceipt.objects.create(
            node=node,
            org_id=node.org_id,
            reason=RefusalReason.CONFLICT,
            request_id=f"r_{number}",
            raw=b"{}",
            sha256=b"%d" % number,
            detail="other",
        )
    RefusedReceipt.objects.filter(request_id="r_0").update(org_id=OrgFactory.create().pk)
    page = text_of(operator.get(f"/nodes/{node.pk}/?tab=receipts"))
    assert [number for number in range(6) if f">r_{number}</a>" in page] == [1, 2, 3, 4, 5]
    assert f'href="/receipts/~refused/{refused.pk}/"' in page
    assert f'href="/receipts/~refused/?node={node.pk}"' in page
    assert "Forged receipts" not in page
    page = text_of(viewer.get(f"/nodes/{node.pk}/?tab=receipts"))
    assert "Latest receipts" in page
    for each in ("r_5", "~refused", "Flags</h2>", "clock of the node"):
        assert each not in page


@pytest.mark.parametrize(
    ("ahead", "words", "off"),
    [
        (0.5, "the clocks of node and console agreed within a second.", False),
        (-3, "the clock of the node was 3 s behind that of the console.", False),
        (25, "the clock of the node was 25 s ahead of that of the console.", True),
        (
            -40,
            "the clock of the node was 40 s behind that of the console, or the heartbeat was that long",
            True,
        ),
    ],
)
def test_the_nodes_clock_at_its_last_heartbeat_is_shown(
    operator: Browser, node: Node, ahead: float, words: str, off: bool
) -> None:
    now = timezone.now()
    Node.objects.filter(pk=node.pk).update(last_heartbeat_at=now, last_heartbeat_ts=now.timestamp() + ahead)
    page = text_of(operator.get(f"/nodes/{node.pk}/?tab=receipts"))
    assert words in page
    assert ("Clock drift" in page) == off


def test_the_last_ten_receipts_are_listed_with_links(operator: Browser, node: Node) -> None:
    now = timezone.now()
    Node.objects.filter(pk=node.pk).update(created_at=now - timedelta(days=1))
    for minutes in range(12):
        ReceiptFactory(node=node, at=now - timedelta(minutes=minutes), request_id=f"r_{minutes}")
    page = text_of(operator.get(f"/nodes/{node.pk}/?tab=receipts"))
    assert [n for n in range(12) if f'href="/receipts/{node.pk}/r_{n}/"' in page] == list(range(10))
    assert f'href="/receipts/?node_id={node.pk}"' in page


def test_the_strip_counts_kept_minutes_and_the_running_one(operator: Browser, node: Node) -> None:
    minute = timezone.now().replace(second=0, microsecond=0)
    Node.objects.filter(pk=node.pk).update(
        first_heard_at=minute - timedelta(hours=3), beat_minute=minute, beats=1
    )
    HeartbeatMinute.objects.create(node=node, minute=minute - timedelta(minutes=1), beats=6)
    HeartbeatMinute.objects.create(node=node, minute=minute - timedelta(minutes=61), beats=6)
    assert "Heartbeats of the last hour: 7 received" in text_of(operator.get(f"/nodes/{node.pk}/"))


def test_words_of_agents_and_validators_are_escaped(operator: Browser, node: Node) -> None:
    Node.objects.filter(pk=node.pk).update(
        last_metrics={"uptime": 5, TORTURE: TORTURE, "gpu_util": TORTURE, "nested": {"a": [TORTURE]}},
        agent_version=TORTURE,
        models_offered=[TORTURE],
    )
    attestation = node.attestation
    attestation.gpu_model, attestation.energy_proof_url = TORTURE, "javascript:alert(1)"
    attestation.save()
    Probe.objects.create(
        node=node,
        validator=ValidatorFactory.create(),
        kind="health",
        ok=False,
        ts=timezone.now(),
        detail=TORTURE,
    )
    for tab in TABS:
        page = text_of(operator.get(f"/nodes/{node.pk}/?tab={tab}"))
        assert "<script>alert" not in page
        assert 'href="javascript:' not in page
    assert "&lt;script&gt;alert" in text_of(operator.get(f"/nodes/{node.pk}/?tab=metrics"))


def test_pages_have_no_inline_styles_or_handlers(operator: Browser, node: Node) -> None:
    for tab in TABS:
        page = text_of(operator.get(f"/nodes/{node.pk}/?tab={tab}"))
        assert " style=" not in page
        assert " onclick=" not in page


def test_a_node_that_cannot_be_reached_says_why_and_what_to_do(operator: Browser, org: Org) -> None:
    now = timezone.now()
    node = NodeFactory.create(org=org, status="active", reachable=False, reachable_since=now)
    validator = ValidatorFactory.create()
    Probe.objects.create(
        node=node, validator=validator, kind="health", ok=False, fault="timeout", ts=now, received_at=now
    )
    Probe.objects.create(node=node, kind="health", ok=True, counts_as="health", ts=now, received_at=now)
    page = text_of(operator.get(f"/nodes/{node.pk}/"))
    assert "Gateways cannot send requests to this node" in page
    assert f"Validators do not reach {node.endpoint}: timed out." in page
    for way in ("Port forwarding", "IPv6", "A tunnel"):
        assert way in page
    assert "<td>console</td>" in page
    assert "Not counted" in page


def test_only_its_owner_reads_a_nodes_endpoint_and_the_advice(org: Org) -> None:
    node = NodeFactory.create(
        org=org, status="active", shared=True, reachable=False, reachable_since=timezone.now()
    )
    viewer = Browser().hold_session(make_user(Role.VIEWER))
    page = text_of(viewer.get(f"/nodes/{node.pseudonym}/"))
    assert "Not reachable" in page
    assert "Gateways cannot send requests" not in page
    assert node.endpoint not in page


def test_a_node_without_an_endpoint_is_told_so(operator: Browser, org: Org) -> None:
    node = NodeFactory.create(
        org=org, status="active", endpoint="", reachable=False, reachable_since=timezone.now()
    )
    assert "It has stated no endpoint." in text_of(operator.get(f"/nodes/{node.pk}/"))


@pytest.mark.parametrize("reachable", [True, None])
def test_a_node_that_is_reachable_or_not_known_yet_gets_no_advice(
    operator: Browser, org: Org, reachable: bool | None
) -> None:
    since = None if reachable is None else timezone.now()
    node = NodeFactory.create(org=org, status="active", reachable=reachable, reachable_since=since)
    page = text_of(operator.get(f"/nodes/{node.pk}/"))
    assert "Gateways cannot send requests" not in page
    assert "Not reachable" not in page
