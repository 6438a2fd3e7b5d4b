"""The wallet page: changing, confirming and stopping, and who may not."""

from datetime import timedelta

import pytest
from django.utils import timezone

from earnings.models import Wallet, WalletState
from jatevo.accounts.models import Org, Role
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.accounts.people import PASSWORD, make_user
from tests.factories import NodeFactory, OrgFactory

pytestmark = pytest.mark.django_db

ADDRESS = "So11111111111111111111111111111111111111112"
OTHER = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
PAGE = "/earnings/wallet/"


def sent(**changes: str) -> dict[str, str]:
    return {"chain": "solana", "address": ADDRESS, "node": "", "current": PASSWORD, **changes}


def held_wallet(org: Org, address: str = ADDRESS, *, days: int = 0) -> Wallet:
    at = timezone.now() - timedelta(days=days)
    return Wallet.objects.create(
        org=org, chain="solana", address=address, state="confirmed", set_at=at, set_by="thief@example.org",
        confirmed_at=at, confirmed_by="thief@example.org", payouts_from=at + timedelta(hours=72),
    )  # fmt: skip


def test_a_new_address_holds_with_a_wait(operator: Browser, org: Org) -> None:
    answer = operator.submit(PAGE, sent())
    assert (answer.status_code, answer.url) == (302, PAGE)
    wallet = Wallet.objects.get()
    assert (wallet.org, wallet.node, wallet.address, wallet.state) == (org, None, ADDRESS, "confirmed")
    page = operator.get(PAGE).content.decode()
    assert "The wallet changed" in page and ADDRESS in page and "wait for 72 hours" in page


def test_a_node_has_a_wallet_of_its_own(operator: Browser, org: Org) -> None:
    node: Node = NodeFactory.create(id="mac-1", org=org)
    operator.submit(PAGE, sent(node=node.pk))
    assert Wallet.objects.get().node == node


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"address": "not an address"}, "address"),
        ({"address": "0x52908400098527886E0F7030069857D2E4169EE7", "chain": "solana"}, "Solana"),
        ({"current": "wrong"}, "The password is wrong."),
        ({"current": ""}, "required"),
        ({"chain": "bitcoin"}, "valid choice"),
    ],
)
def test_what_is_refused_says_why_and_keeps_what_was_typed(
    operator: Browser, changes: dict[str, str], words: str
) -> None:
    answer = operator.submit(PAGE, sent(**changes))
    page = answer.content.decode()
    assert answer.status_code == 422 and words in page
    assert changes.get("address", ADDRESS) in page
    assert not Wallet.objects.exists()


def test_a_node_of_another_organisation_cannot_be_named(operator: Browser) -> None:
    NodeFactory.create(id="rivals-node")
    assert operator.submit(PAGE, sent(node="rivals-node")).status_code == 422
    assert not Wallet.objects.exists()


def test_an_agents_address_fills_the_form_and_changes_nothing_by_itself(operator: Browser, org: Org) -> None:
    NodeFactory.create(id="mac-1", org=org, wallet_chain="solana", wallet_address=ADDRESS)
    page = operator.get(PAGE).content.decode()
    assert "Registered by agents" in page and f"address={ADDRESS}" in page
    filled = operator.get(f"{PAGE}?chain=solana&address={ADDRESS}").content.decode()
    assert f'value="{ADDRESS}"' in filled
    assert not Wallet.objects.exists()


def test_a_link_does_not_fill_in_an_address_that_no_agent_registered(operator: Browser, org: Org) -> None:
    NodeFactory.create(id="mac-1", org=org, wallet_chain="solana", wallet_address=ADDRESS)
    NodeFactory.create(id="rivals-node", wallet_chain="solana", wallet_address=OTHER)
    page = operator.get(f"{PAGE}?chain=solana&address={OTHER}").content.decode()
    assert 'name="address"' in page and f'value="{OTHER}"' not in page


def test_a_proposal_is_confirmed_with_the_password(operator: Browser, org: Org) -> None:
    proposed = Wallet.objects.create(org=org, chain="solana", address=ADDRESS, state="proposed", set_by="x")
    url = f"{PAGE}{proposed.pk}/confirm/"
    assert operator.submit(url, {"current": "wrong"}).status_code == 422
    assert operator.submit(url, {"current": PASSWORD}).status_code == 302
    assert Wallet.objects.get().state == WalletState.CONFIRMED
    assert operator.get(url).status_code == 404  # it no longer waits


def test_any_member_stops_a_change_also_one_who_sees_no_wallets(org: Org) -> None:
    former = held_wallet(org, OTHER, days=9)
    former.state, former.ended_at = WalletState.REPLACED, timezone.now() - timedelta(hours=1)
    former.save()
    changed = held_wallet(org)
    viewer = Browser().hold_session(make_user(Role.VIEWER, org=org))
    page = viewer.get(PAGE).content.decode()
    assert "Stop the change" in page and OTHER not in page
    answer = viewer.submit(f"{PAGE}{changed.pk}/stop/", {"current": PASSWORD, "reason": "not us"})
    assert answer.status_code == 302
    holds = Wallet.objects.get(state="confirmed")
    assert holds.address == OTHER
    assert viewer.get(PAGE).status_code in (200, 403)


def test_a_stop_that_leaves_no_wallet_says_so_and_leads_to_a_page_that_its_reader_may_see(org: Org) -> None:
    only = held_wallet(org)
    viewer = Browser().hold_session(make_user(Role.VIEWER, org=org))
    answer = viewer.submit(f"{PAGE}{only.pk}/stop/", {"current": PASSWORD, "reason": "not us"})
    page = viewer.get(answer.url)
    assert page.status_code == 200
    assert "The change was stopped. There is no wallet now." in page.content.decode()


def test_after_72_hours_there_is_nothing_to_stop(operator: Browser, org: Org) -> None:
    changed = held_wallet(org, days=4)
    answer = operator.submit(f"{PAGE}{changed.pk}/stop/", {"current": PASSWORD, "reason": ""})
    assert answer.status_code == 422 and "72 hours are over" in answer.content.decode()


def test_outsiders_neither_see_nor_change_a_wallet(org: Org) -> None:
    wallet = held_wallet(org)
    proposed = Wallet.objects.create(org=org, chain="solana", address=OTHER, state="proposed", set_by="x")
    rival = Browser().hold_session(make_user(Role.OPERATOR, org=OrgFactory.create()))
    assert rival.get(f"{PAGE}?org={org.pk}").status_code == 404
    for path in (f"{PAGE}{wallet.pk}/stop/", f"{PAGE}{proposed.pk}/confirm/"):
        assert rival.get(path).status_code == 404
        assert rival.post(path, {"current": PASSWORD}, headers=rival.csrf).status_code == 404
    assert ADDRESS not in rival.get(PAGE).content.decode()
    viewer = Browser().hold_session(make_user(Role.VIEWER, org=OrgFactory.create()))
    assert viewer.get(PAGE).status_code == 403
    assert Browser().get(PAGE).status_code == 302


def test_an_admin_of_another_organisation_reads_and_cannot_change(org: Org) -> None:
    held_wallet(org)
    admin = Browser().hold_session(make_user(Role.ADMIN, org=OrgFactory.create()))
    page = admin.get(f"{PAGE}?org={org.pk}").content.decode()
    assert ADDRESS in page and "Change wallet" not in page and "Stop the change" not in page
    answer = admin.post(f"{PAGE}?org={org.pk}", sent(address=OTHER), headers=admin.csrf)
    assert answer.status_code == 403
    assert Wallet.objects.get().address == ADDRESS
