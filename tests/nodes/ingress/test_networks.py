"""The network that heartbeats come from, by a database of the deployment's."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import maxminddb
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from jatevo.accounts.models import Role
from nodes.ingress import networks
from nodes.ingress.checks import asn_database_can_be_read
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.factories import NodeFactory
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db


def write(path: Path, kind: str = "Test-ASN") -> Path:
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type=kind)
    nets: dict[str, dict[str, Any]] = {
        "198.51.100.0/24": {
            "autonomous_system_number": 64500,
            "autonomous_system_organization": "Example Net",
        },
        "203.0.113.0/24": {"autonomous_system_number": 64501},
        "192.0.2.0/24": {
            "autonomous_system_number": 64502,
            "autonomous_system_organization": "Line\nbreak \u202e" + "x" * 80,
        },
        "2001:db8::/32": {"autonomous_system_number": 64503, "autonomous_system_organization": "Six"},
    }
    for net, record in nets.items():
        writer.insert_network(IPSet([net]), record)
    writer.to_db_file(str(path))
    return path


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    yield
    networks._reader.cache_clear()
    networks._look_up.cache_clear()


@pytest.fixture
def database(tmp_path: Path, settings: Settings) -> Path:
    path = write(tmp_path / "asn.mmdb")
    settings.ASN_DATABASE = str(path)
    settings.TRUSTED_PROXIES = 1
    return path


def beat_from(node: Node, address: str, *, ts: float | None = None) -> str:
    machine = SignedSender.node(node)
    machine.client.defaults["HTTP_X_FORWARDED_FOR"] = address
    assert machine.beat(ts=ts).status_code == 200
    node.refresh_from_db()
    return node.asn_hint


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.7", "AS64500 Example Net"),
        ("::ffff:198.51.100.7", "AS64500 Example Net"),
        ("203.0.113.9", "AS64501"),
        ("2001:db8::7", "AS64503 Six"),
        ("spoofed, 198.51.100.7", "AS64500 Example Net"),
    ],
)
def test_heartbeat_tells_the_network(database: Path, address: str, network: str) -> None:
    assert beat_from(NodeFactory.create(), address) == network


def test_names_of_networks_are_cut_and_printable(database: Path) -> None:
    found = beat_from(NodeFactory.create(), "192.0.2.1")
    assert found.startswith("AS64502 Linebreak x")
    assert len(found) == 64
    assert found.isprintable()


@pytest.mark.parametrize("address", ["10.0.0.7", "8.8.8.8", "no address", ""])
def test_an_address_that_is_in_no_network_keeps_what_is_known(database: Path, address: str) -> None:
    assert beat_from(NodeFactory.create(asn_hint="AS64511"), address) == "AS64511"


def test_a_node_that_moves_moves_its_network(database: Path) -> None:
    node = NodeFactory.create()
    assert beat_from(node, "198.51.100.7", ts=1_790_000_000) == "AS64500 Example Net"
    assert beat_from(node, "203.0.113.9", ts=1_790_000_010) == "AS64501"


def test_an_address_is_looked_up_once_and_costs_no_query(
    database: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    networks.network_of("198.51.100.7")
    with (
        patch.object(maxminddb.reader.Reader, "get", side_effect=AssertionError("looked up again")),
        django_assert_num_queries(0),
    ):
        assert networks.network_of("198.51.100.7") == "AS64500 Example Net"


def test_without_a_database_admins_say_it(settings: Settings) -> None:
    settings.ASN_DATABASE = ""
    node = NodeFactory.create(asn_hint="AS64511")
    assert beat_from(node, "198.51.100.7") == "AS64511"
    admin = Browser().hold_session(make_user(Role.ADMIN))
    assert 'name="asn_hint"' in admin.get(f"/admin/nodes/node/{node.pk}/change/").content.decode()
    assert not asn_database_can_be_read(None)


def test_with_a_database_no_admin_edits_what_the_next_heartbeat_undoes(database: Path) -> None:
    node = NodeFactory.create()
    admin = Browser().hold_session(make_user(Role.ADMIN))
    assert 'name="asn_hint"' not in admin.get(f"/admin/nodes/node/{node.pk}/change/").content.decode()
    assert not asn_database_can_be_read(None)


@pytest.mark.parametrize("broken", ["missing", "empty", "garbage", "cut short", "of cities"])
def test_a_database_that_cannot_serve_is_said_once_and_stops_nothing(
    tmp_path: Path, settings: Settings, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "asn.mmdb"
    match broken:
        case "empty":
            path.write_bytes(b"")
        case "garbage":
            path.write_bytes(b"\x00\xff" * 5000)
        case "cut short":
            write(path)
            path.write_bytes(path.read_bytes()[:-40])
        case "of cities":
            write(path, kind="Test-City")
    settings.ASN_DATABASE = str(path)
    settings.TRUSTED_PROXIES = 1
    (warning,) = asn_database_can_be_read(None)
    assert warning.id == "nodes.W001"
    assert str(path) in warning.msg
    with caplog.at_level(logging.ERROR):
        node = NodeFactory.create(asn_hint="AS64511")
        assert beat_from(node, "198.51.100.7", ts=1_790_000_000) == "AS64511"
        assert beat_from(node, "203.0.113.9", ts=1_790_000_010) == "AS64511"
    assert len([record for record in caplog.records if "networks are not looked up" in str(record.msg)]) == 1
