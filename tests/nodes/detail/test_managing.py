"""Managing a node on its page: maintenance, sharing, configuration, reputation."""

from datetime import timedelta

import pytest
from django.utils import timezone
from guardian.shortcuts import assign_perm

from jatevo.accounts.models import Org, Role
from jatevo.audit.models import AuditEvent
from nodes.actions import declare, start_maintenance
from nodes.models import Exemption, Node
from nodes.rules.lifecycle import Reason, Status
from nodes.tokens import node_token
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, OrgFactory

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def node(org: Org) -> Node:
    made: Node = NodeFactory.create(
        id="macbook-001", org=org, status=Status.ACTIVE, wallet_chain="solana", wallet_address="7xKXtg2CW87"
    )
    return made


def paths(node: Node) -> list[str]:
    return [
        f"/nodes/{node.pk}/maintenance/",
        f"/nodes/{node.pk}/maintenance/end/",
        f"/nodes/{node.pk}/sharing/",
        f"/nodes/{node.pk}/reputation/",
        f"/nodes/{node.pk}/token/",
    ]


def test_strangers_and_viewers_manage_nothing(node: Node) -> None:
    Node.objects.update(shared=True)
    rival = Browser().hold_session(make_user(Role.OPERATOR, org=OrgFactory.create()))
    person = make_user(Role.VIEWER)
    assign_perm("nodes.view_node", person, node)
    viewer = Browser().hold_session(person)
    fields = {"message": "New disk", "shared": "no", "reason": "because"}
    for path in paths(node):
        assert rival.post(path, fields, headers=rival.csrf).status_code == 404
        assert viewer.post(path, fields, headers=viewer.csrf).status_code == 403
        visitor = Browser()
        assert visitor.post(path, fields, headers=visitor.csrf)["Location"].startswith("/login/")
    assert rival.get(f"/run-a-node/nodes/{node.pk}/agent.yaml").status_code == 404
    assert viewer.get(f"/run-a-node/nodes/{node.pk}/agent.yaml").status_code == 403
    node.refresh_from_db()
    assert (node.shared, node.token_version, Exemption.objects.count()) == (True, 1, 0)


def test_asking_for_a_page_or_posting_without_the_csrf_token_changes_nothing(
    operator: Browser, node: Node
) -> None:
    for path in paths(node):
        answer = operator.get(path)
        assert answer.status_code in (200, 405)
        assert operator.post(path, {"message": "New disk", "shared": "yes"}).status_code == 403
    node.refresh_from_db()
    assert (node.shared, node.token_version, Exemption.objects.count()) == (False, 1, 0)
    assert not AuditEvent.objects.filter(subject_id=node.pk).exists()


def test_maintenance_is_announced_shown_and_ended(operator: Browser, node: Node) -> None:
    until = timezone.now() + DAY
    answer = operator.submit(
        f"/nodes/{node.pk}/maintenance/",
        {"message": "A new disk", "until": f"{until:%Y-%m-%dT%H:%M}"},
    )
    assert answer["Location"] == f"/nodes/{node.pk}/"
    page = text_of(operator.get(f"/nodes/{node.pk}/"))
    assert "A new disk." in page
    assert "do not lower reputation" in page
    assert f"{until:%-d %b %Y, %H:%M}" in page
    assert AuditEvent.objects.get(verb="node.start_maintenance").reason == "A new disk"
    assert "A new disk" in text_of(operator.get(f"/nodes/{node.pk}/?tab=history"))
    answer = operator.post(f"/nodes/{node.pk}/maintenance/end/", headers=operator.csrf)
    assert answer.status_code == 302
    assert "A new disk." not in text_of(operator.get(f"/nodes/{node.pk}/"))
    assert AuditEvent.objects.filter(verb="node.end_maintenance").exists()


def test_the_page_of_a_node_that_stays_away_after_maintenance_says_what_that_costs(
    operator: Browser, node: Node
) -> None:
    now = timezone.now()
    Node.objects.update(status=Status.OFFLINE, status_reason=Reason.MAINTENANCE)
    window = {"starts_at": now - DAY, "ends_at": now + DAY}
    Exemption.objects.create(kind="maintenance", node=node, created_by="owner@example.org", **window)
    assert "Offline for announced maintenance. This does not lower its reputation." in text_of(
        operator.get(f"/nodes/{node.pk}/")
    )
    Exemption.objects.update(ends_at=now - DAY / 2)
    page = text_of(operator.get(f"/nodes/{node.pk}/"))
    assert "Still offline after announced maintenance" in page
    assert "This does not lower its reputation." not in page


def test_maintenance_may_begin_later_and_be_taken_back(operator: Browser, node: Node) -> None:
    tomorrow = timezone.now() + DAY
    operator.submit(
        f"/nodes/{node.pk}/maintenance/",
        {"message": "Moving house", "starts_at": f"{tomorrow:%Y-%m-%dT%H:%M}"},
    )
    assert "From <time" in text_of(operator.get(f"/nodes/{node.pk}/"))
    assert "Cancel maintenance" in text_of(operator.get(f"/nodes/{node.pk}/maintenance/"))
    operator.post(f"/nodes/{node.pk}/maintenance/end/", headers=operator.csrf)
    assert not Exemption.objects.exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"message": ""}, "This field is required"),
        ({"message": "Too late", "starts_at": "2020-01-01T00:00"}, "cannot start in the past"),
        ({"message": "Too long", "until": "2099-01-01T00:00"}, "of maintenance left"),
        ({"message": "Backwards", "until": "2020-01-01T00:00"}, "must end after it starts"),
        ({"message": "What day?", "until": "someday"}, "Enter a valid date/time"),
        ({"message": "Far off", "starts_at": "9999-12-30T00:00"}, "at most 90 days ahead"),
    ],
)
def test_impossible_maintenance_is_refused_with_an_explanation(
    operator: Browser, node: Node, fields: dict[str, str], said: str
) -> None:
    answer = operator.submit(f"/nodes/{node.pk}/maintenance/", fields)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Exemption.objects.exists()


def test_a_start_that_passed_while_the_form_was_open_is_now(operator: Browser, node: Node) -> None:
    before = timezone.now()
    passed = before - timedelta(minutes=9)
    fields = {"message": "A new disk", "starts_at": f"{passed:%Y-%m-%dT%H:%M}"}
    assert operator.submit(f"/nodes/{node.pk}/maintenance/", fields).status_code == 302
    assert Exemption.objects.get().starts_at >= before  # never for what is past
    assert "is under way" in text_of(operator.get(f"/nodes/{node.pk}/"))


def test_maintenance_that_was_ended_already_is_not_an_error_page(operator: Browser, node: Node) -> None:
    answer = operator.post(f"/nodes/{node.pk}/maintenance/end/", headers=operator.csrf)
    assert answer.status_code == 302
    assert "is not in maintenance" in text_of(operator.get(answer["Location"]))


def test_an_incident_of_the_region_is_named_on_its_nodes(operator: Browser, node: Node) -> None:
    now = timezone.now()
    boss = make_user(Role.ADMIN)
    for reference, region, message in (
        ("incident:1", node.region, "Singapore uplink"),
        ("incident:2", "us-east", "Power cut"),
    ):
        declare(
            reference=reference, region=region, starts_at=now - DAY, ends_at=None, message=message, by=boss, at=now
        )  # fmt: skip
    page = text_of(operator.get(f"/nodes/{node.pk}/"))
    assert "Singapore uplink" in page
    assert "Power cut" not in page


def test_the_words_of_maintenance_are_not_for_strangers(node: Node, org: Org) -> None:
    Node.objects.update(shared=True)
    owner = make_user(Role.OPERATOR, org=org)
    start_maintenance(node=node, message="Anna's cellar is wet", by=owner, at=timezone.now())
    for tab in ("metrics", "history"):
        page = text_of(Browser().get(f"/nodes/{node.pseudonym}/?tab={tab}"))
        assert "Maintenance" in page
        assert "cellar" not in page
        assert owner.email not in page


def test_sharing_is_off_explained_and_the_operators_choice(operator: Browser, node: Node) -> None:
    assert Browser().get(f"/nodes/{node.pseudonym}/").status_code == 302  # to the login page
    page = text_of(operator.get(f"/nodes/{node.pk}/sharing/"))
    assert node.pseudonym in page
    assert "Not shared" in page
    for shown in ("GPU memory", "Driver", "CUDA", "Agent", "Energy", "Registered", "will be in maintenance"):
        assert shown in page
    answer = operator.submit(f"/nodes/{node.pk}/sharing/", {"shared": "yes"})
    assert answer.status_code == 302
    assert Browser().get(f"/nodes/{node.pseudonym}/").status_code == 200
    assert AuditEvent.objects.get(verb="node.share").details["pseudonym"] == node.pseudonym
    assert operator.submit(f"/nodes/{node.pk}/sharing/", {"shared": "yes"}).status_code == 422
    operator.submit(f"/nodes/{node.pk}/sharing/", {"shared": "no"})
    assert Browser().get(f"/nodes/{node.pseudonym}/").status_code == 302  # to the login page
    assert AuditEvent.objects.filter(verb="node.unshare").count() == 1


@pytest.mark.parametrize("choice", [{}, {"shared": "maybe"}])
def test_sharing_is_never_a_guess(operator: Browser, node: Node, choice: dict[str, str]) -> None:
    assert operator.submit(f"/nodes/{node.pk}/sharing/", choice).status_code == 422
    node.refresh_from_db()
    assert not node.shared


def test_the_configuration_holds_what_is_known_and_no_secret(operator: Browser, node: Node) -> None:
    page = text_of(operator.get(f"/nodes/{node.pk}/"))
    assert f'href="/run-a-node/nodes/{node.pk}/agent.yaml"' in page
    answer = operator.get(f"/run-a-node/nodes/{node.pk}/agent.yaml")
    text = text_of(answer)
    assert answer["Content-Disposition"] == 'attachment; filename="agent.yaml"'
    assert "no-store" in answer["Cache-Control"]
    assert 'node_id: "macbook-001"' in text
    assert '  address: "7xKXtg2CW87"' in text
    assert '# node_token: "whsec_' in text
    assert node_token(node) not in text
    assert "enrollment_token" not in text
    assert "\nsimulate:" not in text


def test_the_reputation_is_recomputed_on_demand(operator: Browser, node: Node) -> None:
    page = text_of(operator.get(f"/nodes/{node.pk}/?tab=reputation"))
    assert f'action="/nodes/{node.pk}/reputation/"' in page
    assert operator.get(f"/nodes/{node.pk}/reputation/").status_code == 405
    answer = operator.post(f"/nodes/{node.pk}/reputation/", headers=operator.csrf)
    assert answer["Location"] == f"/nodes/{node.pk}/?tab=reputation"
    assert AuditEvent.objects.filter(verb="node.recompute_reputation", subject_id=node.pk).count() == 1
    assert "The reputation of macbook-001" in text_of(operator.get(answer["Location"]))
