"""Nobody sees another organisation's earnings, by any route."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from jatevo.accounts.models import Org, Role
from jatevo.web.templatetags.money import exact_usd, usd_words
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.earnings.rows import earn
from tests.factories import NodeFactory, OrgFactory

pytestmark = pytest.mark.django_db

NOW = timezone.now()
PARTS = ("", "earnings-summary", "earnings-chart", "earnings-tables", "drawer-body", "node-tab", "node-live")


@pytest.fixture
def rich(org: Org) -> Node:
    """A shared node with a fee that is like no other."""
    node: Node = NodeFactory.create(id="rich-node", org=org, shared=True)
    earn(node, NOW - timedelta(minutes=3), tokens_input=123_456_789, request_id="r_secret")
    earn(node, NOW, state="held", rule="late", cause="late", tokens_input=123_456_789, request_id="r_held")
    return node


SECRETS = (usd_words, exact_usd)


def paths(node: Node, org: Org) -> list[str]:
    return [
        "/earnings/",
        f"/earnings/?org={org.pk}",
        f"/earnings/?node={node.pk}",
        f"/earnings/?node={node.pk}&by=node&step=hour",
        "/earnings/receipts/",
        f"/earnings/receipts/?node={node.pk}",
        f"/earnings/receipts/?org={org.pk}&state=held",
        "/earnings/receipts/?line=1",
        f"/earnings/receipts/{node.pk}/r_secret/",
        f"/nodes/{node.pk}/?tab=earnings",
        f"/nodes/{node.pseudonym}/?tab=earnings",
        "/nodes/?columns=earnings&sort=-earnings",
        "/nodes/~export.csv?columns=earnings",
        f"/receipts/{node.pk}/r_secret/",
    ]


def outsiders() -> dict[str, Browser]:
    rival = OrgFactory.create()
    return {
        "rival": Browser().hold_session(make_user(Role.OPERATOR, org=rival)),
        "viewer": Browser().hold_session(make_user(Role.VIEWER, email="viewer@example.org", org=rival)),
        "visitor": Browser(),
    }


def test_outsiders_see_no_amount_by_any_route(rich: Node, org: Org) -> None:
    amount = 123_456_789 * rich.earnings_lines.get().rate.input_usd / 1_000_000
    whole = rich.earnings_lines.get()
    amounts = {amount, whole.payable_usd, whole.held_usd, whole.payable_usd + whole.held_usd}
    told = {words(each) for words in SECRETS for each in amounts}
    for name, browser in outsiders().items():
        for path in paths(rich, org):
            for part in PARTS:
                headers = {"HX-Request": "true", "HX-Target": part} if part else {}
                answer = browser.get(path, headers=headers)
                assert answer.status_code in (200, 302, 403, 404), (name, path, answer.status_code)
                content = b"".join(answer) if answer.streaming else answer.content
                body = content.decode()
                assert not [each for each in told if each in body], (name, path, part)
                if path.startswith("/earnings/"):
                    assert "r_secret" not in body.replace(path, "") or answer.status_code == 302, (name, path)


def test_the_owner_sees_them(rich: Node, org: Org, operator: Browser) -> None:
    exact = exact_usd(rich.earnings_lines.get().payable_usd)
    assert exact in operator.get("/earnings/").content.decode()
    assert exact in operator.get(f"/nodes/{rich.pk}/?tab=earnings").content.decode()
    assert exact in operator.get("/nodes/?columns=earnings&sort=-earnings").content.decode()


def test_an_unknown_organisation_reads_like_another_ones(rich: Node, org: Org) -> None:
    rival = outsiders()["rival"]
    theirs = rival.get(f"/earnings/?org={org.pk}")
    nobody = rival.get("/earnings/?org=00000000-0000-0000-0000-000000000000")
    assert theirs.status_code == nobody.status_code == 404
    unknown = rival.get("/earnings/receipts/rich-node/r_unknown/")
    known = rival.get("/earnings/receipts/rich-node/r_secret/")
    assert unknown.status_code == known.status_code == 404


def test_viewers_and_visitors_have_no_column_and_no_tab(rich: Node) -> None:
    for name, browser in outsiders().items():
        if name == "rival":
            continue
        assert "Earnings to date" not in browser.get("/nodes/?columns=earnings").content.decode()
        assert "tab=earnings" not in browser.get(f"/nodes/{rich.pseudonym}/").content.decode()
        assert "earnings_usd" not in b"".join(browser.get("/nodes/~export.csv")).decode()


def test_a_node_that_changed_hands_tells_its_new_owner_nothing_of_before(rich: Node, org: Org) -> None:
    new = OrgFactory.create()
    exact = exact_usd(rich.earnings_lines.get().payable_usd)
    rich.org = new
    rich.save(update_fields=["org"])
    owner = Browser().hold_session(make_user(Role.OPERATOR, email="new@example.org", org=new))
    for path in ("/earnings/", f"/nodes/{rich.pk}/?tab=earnings", "/nodes/?columns=earnings"):
        page = owner.get(path).content.decode()
        assert exact not in page
    assert owner.get("/earnings/receipts/rich-node/r_secret/").status_code == 404


@pytest.mark.parametrize("part", ["earnings-summary", "earnings-chart", "earnings-tables"])
def test_an_unknown_node_reads_like_another_organisations(rich: Node, org: Org, part: str) -> None:
    Node.objects.filter(pk=rich.pk).update(created_at=NOW - timedelta(days=12))
    rival = outsiders()["rival"]

    def shown(node_id: str) -> str:
        answer = rival.get(f"/earnings/?node={node_id}", headers={"HX-Request": "true", "HX-Target": part})
        assert answer.status_code == 200
        return re.sub(r"\d\d:\d\d(:\d\d)?(\.\d+)?", "", answer.content.decode()).replace(node_id, "")

    assert shown(rich.pk) == shown("none-node")
