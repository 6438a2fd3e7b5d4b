"""Each figure has its definition next to it."""

from django.utils import timezone
from django.utils.html import escape

from jatevo.accounts.models import Org, Role
from jatevo.metrics.store import Store
from jatevo.overview.summariser import take_census
from jatevo.web.definitions import every_definition
from nodes.models import Node
from receipts.search.filling import fill
from tests.accounts.browser import Browser, text_of
from tests.earnings.rows import make_jtvo, make_rate
from tests.factories import UserFactory


def test_every_definition_is_behind_a_question_mark_of_some_page(
    org: Org, fleet: list[Node], chdb_store: Store
) -> None:
    take_census(at=timezone.now())  # for the heatmap, which shows regions that have an hour
    browser = Browser().hold_session(UserFactory.create(role=Role.OPERATOR, org=org))
    node = f"/nodes/{fleet[0].pk}/"
    make_rate()
    make_jtvo()
    fill(at=timezone.now())
    addresses = [
        "/",
        "/nodes/",
        "/nodes/?columns=reachable",
        "/earnings/",
        "/receipts/~totals/",
        *(f"{node}?tab={tab}" for tab in ("metrics", "reputation", "earnings")),
    ]
    pages = "".join(text_of(browser.get(address)) for address in addresses)
    hidden = [each.key for each in every_definition() if escape(each.text) not in pages]
    assert not hidden


def test_the_list_of_nodes_explains_its_figures(org: Org, fleet: list[Node], chdb_store: Store) -> None:
    browser = Browser().hold_session(UserFactory.create(role=Role.OPERATOR, org=org))
    page = text_of(browser.get("/nodes/"))
    for key in ("reputation", "node_p95", "uptime_7d", "earnings_to_date"):
        assert f'popovertarget="help-{key}-list"' in page
