"""Wallets: what is checked, what a change costs a thief, and how members stop it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from smtplib import SMTPServerDisconnected
from typing import Any
from unittest.mock import patch

import pytest
from django.core import mail
from django.db import connections
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from procrastinate.contrib.django.models import ProcrastinateJob

from earnings.models import Wallet
from earnings.tasks import mail_wallet_change
from earnings.wallets import (
    WalletError,
    change,
    changes_on_hold,
    confirm,
    propose,
    stop,
    wallets_of_agents,
)
from jatevo.accounts.actions import OneTimePasswordRequired, WrongCredentials
from jatevo.accounts.models import Org, User
from jatevo.audit.models import AuditEvent
from jatevo.web.mail import MAIL_RETRIES
from tests.accounts.people import PASSWORD
from tests.earnings.payouts.earners import ADDRESSES
from tests.earnings.wallets.conftest import run_mails
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db
EVM = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
DAYS_3 = timedelta(hours=72)
FROM = "192.0.2.7"


def proof(**changes: Any) -> dict[str, Any]:
    return {"password": PASSWORD, "otp": "", "network_address": FROM, "at": timezone.now(), **changes}


def set_to(org: Org, by: User, address: str = ADDRESSES[0], **more: Any) -> Wallet:
    chain = "evm" if address.startswith("0x") else "solana"
    node = more.pop("node", None)
    return change(org=org, node=node, chain=chain, address=address, by=by, **proof(**more))


def current(org: Org, node: Any = None) -> Wallet | None:
    return Wallet.objects.filter(org=org, node=node, state="confirmed").first()


def test_first_wallet_waits_72_hours_too(org: Org, owner: User) -> None:
    now = timezone.now()
    wallet = set_to(org, owner, EVM.lower(), at=now)
    assert (wallet.address, wallet.payouts_from) == (EVM, now + DAYS_3)
    assert changes_on_hold(org, at=now + timedelta(hours=71)) == [wallet]
    assert changes_on_hold(org, at=now + DAYS_3) == []


def test_change_ends_the_former_wallet_and_stays_in_the_history(org: Org, owner: User) -> None:
    first = set_to(org, owner)
    second = set_to(org, owner, ADDRESSES[1])
    first.refresh_from_db()
    assert (first.state, first.ended_by) == ("replaced", owner.email)
    assert current(org) == second and Wallet.objects.count() == 2
    event = AuditEvent.objects.filter(verb="wallet.change").first()
    assert event and event.details["former"] == ADDRESSES[0] and event.details["from_address"] == FROM


@pytest.mark.parametrize(
    ("chain", "address", "word"),
    [
        ("solana", "not-an-address", "Solana"),
        ("solana", ADDRESSES[0][:-1], "Solana"),
        ("evm", EVM.swapcase().replace("0X", "0x"), "checksum"),
        ("evm", ADDRESSES[0], "Solana address"),
        ("bitcoin", ADDRESSES[0], "chain"),
        ("solana", "", "Enter"),
    ],
)
def test_wrong_address_is_refused_with_a_clear_message(
    org: Org, owner: User, chain: str, address: str, word: str
) -> None:
    with pytest.raises(WalletError, match=word):
        change(org=org, chain=chain, address=address, by=owner, **proof())
    assert not Wallet.objects.exists()


def test_change_needs_the_password_and_the_second_factor(org: Org, owner: User) -> None:
    with pytest.raises(WrongCredentials):
        set_to(org, owner, password="wrong")
    StaticDevice.objects.create(user=owner, name="codes").token_set.create(token="123456")
    with pytest.raises(OneTimePasswordRequired):
        set_to(org, owner)
    assert set_to(org, owner, otp="123456").address == ADDRESSES[0]


def test_node_of_another_organisation_gets_no_wallet(org: Org, rival: Org, owner: User) -> None:
    with pytest.raises(WalletError, match="another organisation"):
        set_to(org, owner, node=NodeFactory.create(org=rival))


def test_same_wallet_again_is_no_change(org: Org, owner: User) -> None:
    set_to(org, owner)
    with pytest.raises(WalletError, match="already the wallet"):
        set_to(org, owner)
    assert Wallet.objects.count() == 1


def test_node_has_a_wallet_of_its_own_beside_that_of_the_organisation(org: Org, owner: User) -> None:
    node = NodeFactory.create(org=org)
    whole, own = set_to(org, owner), set_to(org, owner, ADDRESSES[1], node=node)
    assert (current(org), current(org, node)) == (whole, own)


def test_proposal_holds_once_it_is_confirmed_and_only_once(org: Org, owner: User, admin: User) -> None:
    former = set_to(org, owner)
    now = timezone.now()
    offered = propose(org=org, chain="solana", address=ADDRESSES[1], by=admin, network_address=FROM, at=now)
    assert current(org) == former
    with pytest.raises(WalletError, match="already proposed"):
        propose(org=org, chain="solana", address=ADDRESSES[1], by=admin, network_address=FROM, at=now)
    confirmed = confirm(wallet=offered, by=owner, **proof(at=now))
    assert (current(org), confirmed.payouts_from) == (offered, now + DAYS_3)
    with pytest.raises(WalletError, match="already decided"):
        confirm(wallet=offered, by=owner, **proof())


def at_days(*days: float) -> list[datetime]:
    return [timezone.now() + timedelta(days=each) for each in days]


def test_member_stops_a_change_and_the_former_wallet_holds_again(
    org: Org, owner: User, colleague: User
) -> None:
    first, changed, stopped = at_days(-30, 0, 1)
    set_to(org, owner, at=first)
    thief = set_to(org, owner, ADDRESSES[1], at=changed)
    restored = stop(wallet=thief, by=colleague, **proof(at=stopped))
    assert restored and current(org) == restored and restored.address == ADDRESSES[0]
    assert restored.payouts_from == changed + DAYS_3  # whoever stops might be the thief
    thief.refresh_from_db()
    assert (thief.state, thief.ended_by) == ("stopped", colleague.email)
    with pytest.raises(WalletError, match="nothing to stop"):
        stop(wallet=restored, by=owner, **proof(at=stopped))


def test_series_of_changes_is_stopped_back_to_the_last_wallet_beyond_doubt(org: Org, owner: User) -> None:
    first, second, third, stopped = at_days(-30, 0, 0.5, 1)
    set_to(org, owner, at=first)
    set_to(org, owner, ADDRESSES[1], at=second)
    last = set_to(org, owner, ADDRESSES[2], at=third)
    restored = stop(wallet=last, by=owner, **proof(at=stopped))
    assert restored and restored.address == ADDRESSES[0]


def test_first_wallet_that_is_stopped_leaves_none(org: Org, owner: User) -> None:
    assert stop(wallet=set_to(org, owner), by=owner, **proof()) is None
    assert current(org) is None


def test_change_cannot_be_stopped_after_72_hours(org: Org, owner: User) -> None:
    wallet = set_to(org, owner)
    with pytest.raises(WalletError, match="72 hours are over"):
        stop(wallet=wallet, by=owner, **proof(at=timezone.now() + DAYS_3 + timedelta(seconds=1)))
    with pytest.raises(WrongCredentials):
        stop(wallet=wallet, by=owner, **proof(password="wrong"))


def test_every_active_member_is_told_and_nobody_else(
    org: Org, rival: Org, owner: User, colleague: User
) -> None:
    left = User.objects.create(email="left@example.org", org=org, role="operator", is_active=False)
    User.objects.create(email="rival@example.org", org=rival, role="operator")
    set_to(org, owner)
    set_to(org, owner, ADDRESSES[1], node=NodeFactory.create(org=org, id="n-7"))
    assert run_mails() == 4
    assert {tuple(message.to) for message in mail.outbox} == {(owner.email,), (colleague.email,)}
    assert left.email not in str([message.to for message in mail.outbox])
    told = str(mail.outbox[-1].body)
    for word in (
        "Old: none",
        f"Solana {ADDRESSES[1]}",
        "the node n-7",
        FROM,
        owner.email,
        "/earnings/wallet/",
        "UTC",
    ):
        assert word in told


def test_mail_names_both_wallets_and_how_a_stop_ended(org: Org, owner: User) -> None:
    set_to(org, owner, at=at_days(-30)[0])
    thief = set_to(org, owner, EVM)
    stop(wallet=thief, by=owner, **proof())
    run_mails()
    changed, stopped = (str(message.body) for message in mail.outbox[-2:])
    assert f"Old: Solana {ADDRESSES[0]}\nNew: EVM {EVM}" in changed
    assert f"Stopped: EVM {EVM}\nHolds again: Solana {ADDRESSES[0]}" in stopped


def test_dead_mail_server_undoes_nothing_and_the_mail_is_retried(org: Org, owner: User) -> None:
    with patch(
        "django.core.mail.backends.locmem.EmailBackend.send_messages", side_effect=SMTPServerDisconnected
    ):
        wallet = set_to(org, owner)
        with pytest.raises(SMTPServerDisconnected):
            run_mails()
    assert current(org) == wallet
    job = ProcrastinateJob.objects.get(task_name="earnings.mail_wallet_change")
    assert mail_wallet_change.retry_strategy == MAIL_RETRIES
    assert run_mails() == 1 and len(mail.outbox) == 1 and job.status == "todo"


def test_change_that_is_rolled_back_mails_nobody(org: Org, owner: User) -> None:
    with patch("earnings.wallets.changes._record", side_effect=RuntimeError), pytest.raises(RuntimeError):
        set_to(org, owner)
    assert not ProcrastinateJob.objects.exists() and not Wallet.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_members_who_change_at_once_leave_one_wallet(org: Org, owner: User, colleague: User) -> None:
    start = threading.Barrier(2)

    def run(by: User, address: str) -> Any:
        try:
            start.wait()
            return set_to(org, by, address)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(run, (owner, colleague), ADDRESSES))
    assert current(org) in made
    assert sorted(Wallet.objects.values_list("state", flat=True)) == ["confirmed", "replaced"]


def test_what_agents_registered_is_a_proposal(org: Org, rival: Org, owner: User) -> None:
    for chain, address in (
        ("solana", ADDRESSES[0]), ("SOL", ADDRESSES[0]), ("", EVM.lower()), ("dogecoin", "D8abc"), ("", "junk"),
    ):  # fmt: skip
        NodeFactory.create(org=org, wallet_chain=chain, wallet_address=address)
    NodeFactory.create(org=rival, wallet_chain="solana", wallet_address=ADDRESSES[2])
    found = {each.address: each for each in wallets_of_agents(org)}
    assert len(found[ADDRESSES[0]].node_ids) == 2 and not found[ADDRESSES[0]].problem
    assert (found[EVM].chain, found[EVM].problem) == ("evm", "")
    assert "does not know the chain “dogecoin”" in found["D8abc"].problem
    assert found["junk"].problem and ADDRESSES[2] not in found
    set_to(org, owner)
    assert ADDRESSES[0] not in {each.address for each in wallets_of_agents(org)}
