"""The page of earnings: its figures, what leads where, and what it says when there is nothing."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
import time_machine
from django.utils import timezone
from waffle.testutils import override_switch

from earnings.figures.scope import Scope
from earnings.figures.sums import sums
from earnings.models import Wallet
from earnings.page.chart import MOST_SERIES
from jatevo.accounts.models import Org, Role
from jatevo.flags.registry import Flag
from jatevo.web.templatetags.money import exact_usd, usd_words
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.earnings.rows import earn, finalise, make_jtvo, make_rate
from tests.factories import NodeFactory, OrgFactory

pytestmark = pytest.mark.django_db

NOW = timezone.now()


@pytest.fixture
def node(org: Org) -> Node:
    made: Node = NodeFactory.create(id="mac-1", org=org, region="us-west")
    return made


@pytest.fixture
def admin() -> Browser:
    return Browser().hold_session(make_user(Role.ADMIN))


def text(browser: Browser, path: str, headers: dict[str, str] | None = None) -> str:
    answer = browser.get(path, headers=headers)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def words(html: str) -> str:
    """The page's visible words."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_without_rates_amounts_are_unknown_and_say_so(operator: Browser, node: Node) -> None:
    page = text(operator, "/earnings/")
    assert "No rates are set" in page
    assert "$0.00" not in re.sub(r"Next payout.*", "", words(page))[:1200]


def test_an_organisation_without_nodes_has_an_empty_page(operator: Browser) -> None:
    make_rate()
    page = words(text(operator, "/earnings/"))
    assert "No receipts in these days" in page or "$0.00" in page
    assert "There is no confirmed wallet" in page


def test_every_figure_equals_the_lines_and_opens_its_receipts(operator: Browser, node: Node) -> None:
    make_rate(input_usd="0.123457", output_usd="0.987653")
    for number in range(9):
        earn(
            node,
            NOW - timedelta(days=number % 3),
            tokens_input=10_000_019 * (number + 1),
            confirmed=number > 4,
        )
    earn(node, NOW, state="held", rule="late", cause="late", tokens_output=77_777)
    earn(node, NOW, state="excluded", rule="outcome", cause="failed", tokens_output=99_999)
    page = text(operator, "/earnings/")
    whole = sums(Scope(node.org_id))
    for state in ("payable", "held", "excluded"):
        amount = getattr(whole, f"{state}_usd")
        assert exact_usd(amount) in page
        (url,) = set(
            re.findall(rf'<a href="(/earnings/receipts/[^"]*state={state}[^"]*)" class="after', page)
        )
        behind = text(operator, unescape(url))
        shown = re.search(rf'data-sum="{state}">(.*?)</dd>', behind, re.S)
        assert shown and exact_usd(amount) in shown[1] and usd_words(amount) in shown[1]
    assert usd_words(whole.unconfirmed_usd) in words(page)
    assert "Late" in page


def test_each_day_of_the_history_opens_receipts_that_sum_to_it(operator: Browser, node: Node) -> None:
    for number in range(6):
        earn(node, NOW - timedelta(days=number % 2), tokens_input=1_234_567 * (number + 1))
    page = text(operator, "/earnings/")
    for days in (0, 1):
        day = (NOW - timedelta(days=days)).astimezone(UTC).date()
        of_day = sums(Scope(node.org_id, first=day, last=day))
        row = re.search(rf'id="day-{day}">(.*?)</tr>', page, re.S)
        assert row and exact_usd(of_day.fees_usd) in row[1]
        (url,) = map(unescape, re.findall(r'href="([^"]*state=payable[^"]*)"', row[1]))
        assert exact_usd(of_day.fees_usd) in text(operator, url)


def test_a_receipt_shows_its_price_and_every_rule(operator: Browser, node: Node) -> None:
    make_rate(cache_hit_discount="0.25")
    item = earn(node, NOW - timedelta(minutes=5), cache_hit=True)
    page = words(text(operator, f"/earnings/receipts/{node.pk}/{item.request_id}/"))
    assert exact_usd(item.fee_usd) in page
    assert "25.0 %" in page
    for label in ("Request succeeded", "Node in service", "Plausible numbers", "No finding of fraud"):
        assert label in page
    assert bytes(item.sha256).hex() in page
    assert "The signed receipt" in page


def test_a_receipt_whose_document_is_gone_still_shows_its_hash(operator: Browser, node: Node) -> None:
    item = earn(node, NOW - timedelta(minutes=5), with_receipt=False)
    page = words(text(operator, f"/earnings/receipts/{node.pk}/{item.request_id}/"))
    assert "no longer stored" in page and bytes(item.sha256).hex() in page


def test_the_estimate_is_marked_and_can_be_switched_off(operator: Browser, node: Node) -> None:
    make_jtvo("12.5")
    earn(node, NOW)
    page = words(text(operator, "/earnings/"))
    assert "JTVO est." in page and "12.5 JTVO per USD, test, since" in page
    with override_switch(Flag.SHOW_JTVO_ESTIMATES.value, active=False):
        assert "JTVO" not in words(text(operator, "/earnings/"))
        assert "JTVO" not in words(text(operator, f"/nodes/{node.pk}/?tab=earnings"))


def test_the_wallet_card_tells_of_waits_and_proposals(operator: Browser, node: Node, org: Org) -> None:
    make_rate()
    Wallet.objects.create(
        org=org, chain="solana", address="So11111111111111111111111111111111111111112", state="confirmed",
        set_by="me@example.org", confirmed_at=NOW, confirmed_by="me@example.org",
        payouts_from=NOW + timedelta(hours=72),
    )  # fmt: skip
    Wallet.objects.create(org=org, chain="evm", address="0x" + "a" * 40, state="proposed", set_by="mac-1")
    page = words(text(operator, "/earnings/"))
    assert "So1111…111112" in page
    assert "The wallet changed" in page and "A wallet is proposed" in page


def test_an_admin_sees_all_organisations_and_picks_one(admin: Browser, node: Node, org: Org) -> None:
    other = NodeFactory.create(org=OrgFactory.create(name="Rival Ltd"))
    mine, theirs = earn(node, NOW), earn(other, NOW, tokens_input=5_000_000)
    page = text(admin, "/earnings/")
    assert exact_usd(mine.fee_usd + theirs.fee_usd) in page
    assert "Rival Ltd" in page
    narrowed = text(admin, f"/earnings/?org={org.pk}")
    assert exact_usd(mine.fee_usd) in narrowed
    assert exact_usd(theirs.fee_usd) not in narrowed


def test_nodes_are_sorted_by_any_column(operator: Browser, org: Org) -> None:
    for number in range(3):
        earn(NodeFactory.create(id=f"n-{number}", org=org), NOW, tokens_input=1000 * (7 * number % 4 + 1))
    order = re.compile(r'id="earner-([^"]+)"')
    assert order.findall(text(operator, "/earnings/?sort=name")) == ["n-0", "n-1", "n-2"]
    by_fees = order.findall(text(operator, "/earnings/?sort=-fees"))
    assert by_fees == list(reversed(order.findall(text(operator, "/earnings/?sort=fees"))))
    assert order.findall(text(operator, "/earnings/?sort=nonsense")) == by_fees


def test_the_chart_has_its_amounts_as_a_table_by_every_step(operator: Browser, node: Node) -> None:
    item = earn(node, NOW, model="qwen3")
    for query in ("", "&step=hour", "&step=week", "&step=month&from=2026-01-01", "&by=node", "&by=model"):
        page = text(operator, f"/earnings/?table=1{query}")
        start = page.index("Earnings over time, newest first")
        table = page[start : page.index("</table>", start)]
        assert exact_usd(item.fee_usd) in table or usd_words(item.fee_usd) in table
        assert "running" in table


def test_one_model_beyond_those_with_a_colour_is_one_other(operator: Browser, node: Node) -> None:
    for number in range(MOST_SERIES + 1):
        earn(node, NOW, model=f"model-{number}")
    page = text(operator, "/earnings/?by=model")
    assert "1 other</span>" in page
    assert "1 others" not in page


def test_the_table_of_the_chart_is_shown_when_asked_for_and_kept_by_other_steps(
    operator: Browser, node: Node
) -> None:
    earn(node, NOW)
    without = text(operator, "/earnings/?by=model")
    assert "Earnings over time, newest first" not in without
    assert 'href="/earnings/?by=model&amp;table=1#earnings-chart"' in without
    with_table = text(operator, "/earnings/?by=model&table=1")
    assert 'href="/earnings/?by=model#earnings-chart"' in with_table
    assert "by=model&amp;step=week&amp;table=1" in with_table
    assert "/earnings/export/" in with_table
    export = with_table[with_table.index("/earnings/export/") :].partition('"')[0]
    assert "table" not in export


def test_a_node_that_earns_nothing_is_told_why(operator: Browser, node: Node) -> None:
    make_rate()
    page = words(text(operator, "/earnings/"))
    assert "Why does this node earn nothing?" in page
    assert "not in service" in page
    earn(node, NOW)
    assert "Why does this node earn nothing?" not in words(text(operator, "/earnings/"))


@pytest.mark.parametrize(
    ("day", "asked", "chosen"),
    [
        (datetime(2026, 6, 30, 12, tzinfo=UTC), "", "30 days"),  # in June, the month has 30 days
        (datetime(2026, 6, 30, 12, tzinfo=UTC), "?from=2026-06-01&to=2026-06-30", "30 days"),
        (datetime(2026, 6, 7, 12, tzinfo=UTC), "?from=2026-06-01&to=2026-06-07", "7 days"),
        (datetime(2026, 6, 29, 12, tzinfo=UTC), "?from=2026-06-01&to=2026-06-29", "This month"),
    ],
)
def test_one_preset_of_days_is_current(org: Org, day: datetime, asked: str, chosen: str) -> None:
    with time_machine.travel(day):
        operator = Browser().hold_session(make_user(Role.OPERATOR, org=org))
        page = text(operator, f"/earnings/{asked}")
    presets = page.split('aria-label="Days"')[1].split("</nav>")[0]
    assert re.findall(r'aria-current="true">([^<]+)<', presets) == [chosen]


def test_the_month_that_runs_says_so_and_is_compared_with_nothing(operator: Browser, node: Node) -> None:
    earn(node, NOW)
    page = words(text(operator, "/earnings/"))
    start = page.index("This month so far")
    assert "not a whole month yet" in page[start:]
    assert "since yesterday" not in page and "▲" not in page


def test_parts_refresh_alone_and_unchanged_ones_cost_nothing(operator: Browser, node: Node) -> None:
    earn(node, NOW)
    for part in ("earnings-summary", "earnings-chart", "earnings-tables"):
        headers = {"HX-Request": "true", "HX-Target": part}
        answer = operator.get("/earnings/", headers=headers)
        assert "<!doctype" not in answer.content.decode()
        again = operator.get("/earnings/", headers=headers | {"If-None-Match": answer["ETag"]})
        assert again.status_code in (200, 304)


@pytest.mark.parametrize("nodes", [1, 4])
def test_the_page_costs_the_same_however_many_nodes_there_are(
    operator: Browser, org: Org, nodes: int, django_assert_max_num_queries: Any
) -> None:
    make_rate()
    for number in range(nodes):
        earn(NodeFactory.create(id=f"n-{number}", org=org), NOW)
    operator.get("/earnings/")
    with django_assert_max_num_queries(40):
        operator.get("/earnings/")


def test_paid_out_amounts_come_from_the_ledger(operator: Browser, node: Node) -> None:
    item = earn(node, NOW - timedelta(days=12), tokens_input=200_000_000)
    finalise(item.day)
    page = words(text(operator, "/earnings/"))
    assert "The threshold of $10.00 is reached" in page
    assert Decimal(20) < item.fee_usd


def test_the_eligibility_rules_say_what_is_missing(operator: Browser, node: Node, org: Org) -> None:
    item = earn(node, NOW - timedelta(days=12), tokens_input=20_000_000)
    finalise(item.day)
    page = words(text(operator, "/earnings/"))
    assert "Payout eligibility" in page and "Not eligible yet" in page
    assert "There is no wallet to pay to." in page and "Payout threshold" in page
    NodeFactory.create(id="mac-2", org=org)
    page = words(text(operator, "/earnings/"))
    assert "0 of 2 nodes eligible now" in page and "0 of 2 nodes pass. Not: mac-1, mac-2." in page


def test_an_admin_finds_the_queue_and_the_run(admin: Browser, operator: Browser) -> None:
    assert "/earnings/review/" in text(admin, "/earnings/") and "/earnings/run/" in text(admin, "/earnings/")
    assert "/earnings/run/" not in text(operator, "/earnings/")


def test_a_nodes_tab_names_why_receipts_are_held(operator: Browser, node: Node) -> None:
    earn(node, timezone.now() - timedelta(hours=2), state="held", rule="implausible", cause="speed")
    assert "Too many tokens per second" in words(text(operator, f"/nodes/{node.pk}/?tab=earnings"))


@pytest.mark.parametrize(
    ("others", "said"), [(4, "No comparison"), (5, "earned about $0.0006 in the 7 days")]
)
def test_a_node_is_compared_with_its_region_from_five_other_organisations_on(
    operator: Browser, node: Node, others: int, said: str
) -> None:
    earn(node, NOW - timedelta(days=2))
    for number in range(others):
        rival = NodeFactory.create(region="us-west", status="active", org=OrgFactory.create())
        for _ in range(number):
            earn(rival, NOW - timedelta(days=2))
    assert said in words(text(operator, f"/nodes/{node.pk}/?tab=earnings"))


def test_without_rates_no_day_says_zero(operator: Browser, node: Node) -> None:
    page = words(text(operator, "/earnings/"))
    assert "There is nothing to show for these days." in page
    assert "0.00 JTVO" not in page
