"""The demo fleet's invented history: consistent, verifiable, marked as invented, and written only once."""

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Max, Min, Sum
from django.test import Client
from django.utils import timezone
from nacl.signing import SigningKey
from pytest_django.plugin import DjangoDbBlocker

from earnings.rules.wallets import check_address
from jatevo.accounts.models import Role, User
from jatevo.local.demo import NODES, ensure_history, history_until
from jatevo.local.demo_history import DAYS, PASTS, notice
from jatevo.local.seed import seed_users
from jatevo.metrics.store import Store
from jatevo.overview.models import Incident, RegionHour
from jatevo.web import notices
from nodes.models import Exemption, ExemptionKind, Node, NodeKey
from nodes.rules.lifecycle import Status
from nodes.tokens import node_token
from receipts.models import Dispatch, Receipt, UnjudgedReceipt
from receipts.verify import verify
from tests.accounts.browser import Browser
from tests.database import AS_MIGRATED, copy_database
from tests.factories import NodeFactory
from tests.metrics.conftest import empty_tables

INVENTED = "with_a_history"
CONSOLE = "http://127.0.0.1:8000"


def seed_operator(home: Path) -> User:
    return next(login.user for login in seed_users(home) if login.role == Role.OPERATOR)


@pytest.fixture
def operator(db: None, tmp_path: Path) -> User:
    return seed_operator(tmp_path)


def invent(home: Path, operator: User) -> None:
    assert operator.org is not None
    ensure_history(home, console_url=CONSOLE, org=operator.org, by=operator)


@pytest.fixture(scope="module")
def invented(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
    chdb_migrated: Store,
) -> Path:
    """A home with a history. Its database is kept as a copy, and what ClickHouse has of it is in chDB."""
    home = tmp_path_factory.mktemp("demo")
    empty_tables(chdb_migrated)
    with django_db_blocker.unblock():
        invent(home, seed_operator(home))
        copy_database(connection.settings_dict["NAME"], INVENTED)
        copy_database(AS_MIGRATED, connection.settings_dict["NAME"])
    return home


@pytest.fixture
def home(invented: Path, transactional_db: None) -> Path:
    copy_database(INVENTED, connection.settings_dict["NAME"])
    return invented


@pytest.mark.timeout(900)
@pytest.mark.django_db(transaction=True)
def test_the_history_is_whole_and_agrees_with_itself(home: Path, chdb_migrated: Store) -> None:
    operator = User.objects.get(role=Role.OPERATOR)
    nodes = Node.objects.order_by("pk")
    assert [node.pk for node in nodes] == sorted(PASTS)
    assert {node.status for node in nodes} == {Status.ACTIVE}
    assert all(node.reputation is not None and node.org_id == operator.org_id for node in nodes)

    receipts = Receipt.objects.order_by("accepted_at")
    ends = receipts.aggregate(first=Min("accepted_at"), last=Max("accepted_at"))
    assert timedelta(days=DAYS - 1) < ends["last"] - ends["first"] < timedelta(days=DAYS + 1)
    for receipt in receipts[:: max(1, receipts.count() // 25)]:
        assert verify(receipt).valid, receipt
        assert receipt.payload["demo"] is True

    hours = RegionHour.objects.aggregate(first=Min("hour"), last=Max("hour"))
    counted = RegionHour.objects.filter(region="").aggregate(
        requests=Sum("requests"), tokens=Sum("tokens_output")
    )
    of_them = receipts.filter(
        accepted_at__gte=hours["first"], accepted_at__lt=hours["last"] + timedelta(hours=1)
    )
    sums = of_them.aggregate(tokens=Sum("tokens_output"))
    assert (counted["requests"], counted["tokens"]) == (of_them.count(), sums["tokens"])
    ((in_store,),) = chdb_migrated.execute("SELECT count() FROM receipt_facts")
    assert in_store == receipts.count()

    waiting = UnjudgedReceipt.objects.values_list("id", "accepted_at", "node_id", "request_id")
    assert set(waiting) == set(receipts.values_list("id", "accepted_at", "node_id", "request_id"))
    for node in nodes:
        facts = set(node.receipts.values_list("org_id", "concurrency", "key_since", "key_until"))
        assert check_address(node.wallet_chain, node.wallet_address) == node.wallet_address
        assert facts == {(node.org_id, node.concurrency, node.keys.get().valid_from, None)}
        assert {offer.model for offer in node.offers.filter(offered_until=None)} == set(node.models_offered)
        assert not node.receipts.filter(ts_end__lt=node.created_at).exists()
    dispatched = set(Dispatch.objects.values_list("request_id", "node_id", "model", "tokens_input"))
    agreeing = dispatched & set(receipts.values_list("request_id", "node_id", "model_id", "tokens_input"))
    assert dispatched == agreeing
    assert 0.75 < len(dispatched) / receipts.count() < 0.85

    incident = Incident.objects.get()
    assert "Demo data" in incident.description
    assert Exemption.objects.get(kind=ExemptionKind.INCIDENT).reference == f"incident:{incident.pk}"
    assert Exemption.objects.filter(kind=ExemptionKind.MAINTENANCE).exists()


@pytest.mark.timeout(900)
@pytest.mark.django_db(transaction=True)
def test_the_agents_go_on_as_the_nodes_of_the_past_and_it_happens_once(home: Path) -> None:
    for node in Node.objects.all():
        state = json.loads((home / "demo" / node.pk / "state" / "state.json").read_text())
        key = SigningKey(base64.b64decode(state["private_key"])).verify_key
        assert bytes(NodeKey.objects.get(node=node).public_key) == bytes(key)
        assert (state["node_token"], state["console"]) == (node_token(node), CONSOLE)
        stated = json.loads((home / "demo" / node.pk / "attest.json").read_text())
        assert stated["gpu_model"] == node.attestation.gpu_model == PASTS[node.pk].gpu_model
        assert stated["hardware_hash"] == node.attestation.hardware_hash
    before = Receipt.objects.count()
    assert history_until(home) is not None
    invent(home, User.objects.get(role=Role.OPERATOR))
    assert Receipt.objects.count() == before


@pytest.mark.django_db
def test_an_installation_with_nodes_gets_no_history(operator: User, tmp_path: Path) -> None:
    NodeFactory.create(id="mine")
    invent(tmp_path, operator)
    assert (Node.objects.count(), history_until(tmp_path)) == (1, None)


def test_the_node_that_misbehaves_has_no_past() -> None:
    assert set(PASTS) == {node.node_id for node in NODES if not node.fault}


@pytest.mark.django_db
def test_every_page_says_that_the_data_are_invented() -> None:
    text = notice(timezone.now())
    notices.show(text)
    try:
        for path in ("/", "/nodes/", "/status/"):
            assert text in Browser().get(path).content.decode()
    finally:
        notices.clear()
    assert text not in Client().get("/").content.decode()
