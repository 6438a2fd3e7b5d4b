"""Which endpoints a validator may connect to."""

import asyncio
import ipaddress
from collections.abc import Sequence

import pytest

from jatevo.wire.endpoints import EndpointError, IPAddress, parse_endpoint
from nodes.validator.address import (
    AddressPolicy,
    AddressRefusedError,
    NameUnresolvedError,
    Resolver,
    system_resolver,
    vetted_addresses,
)

PUBLIC = AddressPolicy()
INSIDE = AddressPolicy(allow_private=True)

UNSPECIFIED = str(ipaddress.IPv4Address(0))
REFUSED = [
    UNSPECIFIED,
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # IPv4-compatible
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",  # mapped: a plain IPv4 address has no reason to dress up
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",  # Teredo
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "4000::1",
]
PERMITTED = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "223.255.255.255",
    "2001:200::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
]


def answering(*addresses: str) -> Resolver:
    async def resolve(host: str, port: int) -> Sequence[IPAddress]:
        return [ipaddress.ip_address(address) for address in addresses]

    return resolve


def vetted(
    endpoint: str, policy: AddressPolicy = PUBLIC, resolve: Resolver = system_resolver
) -> Sequence[IPAddress]:
    return asyncio.run(vetted_addresses(parse_endpoint(endpoint), policy, resolve))


@pytest.mark.parametrize("address", REFUSED)
def test_special_address_is_refused(address: str) -> None:
    assert not PUBLIC.permits(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PERMITTED)
def test_public_address_is_permitted(address: str) -> None:
    assert PUBLIC.permits(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.0.9", "100.64.0.1", "::1", "fd00::1"])
def test_allow_private_opens_loopback_and_private(address: str) -> None:
    assert INSIDE.permits(ipaddress.ip_address(address))
    assert not PUBLIC.permits(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        UNSPECIFIED,
        "224.0.0.1",
        "240.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
    ],
)
def test_allow_private_keeps_metadata_and_nonsense_out(address: str) -> None:
    assert not INSIDE.permits(ipaddress.ip_address(address))


def test_allow_network_opens_only_that_network() -> None:
    policy = AddressPolicy(
        networks=(ipaddress.ip_network("10.20.0.0/16"), ipaddress.ip_network("fd00:1::/32"))
    )
    assert policy.permits(ipaddress.ip_address("10.20.3.4"))
    assert policy.permits(ipaddress.ip_address("::ffff:10.20.3.4"))
    assert policy.permits(ipaddress.ip_address("fd00:1::5"))
    assert not policy.permits(ipaddress.ip_address("10.21.3.4"))
    assert not policy.permits(ipaddress.ip_address("127.0.0.1"))
    assert not policy.permits(ipaddress.ip_address("fd00:2::5"))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0x7f000001",
        "2130706433",
        "127.1",
        "0177.0.0.1",
        "0x7f.1",
        "0",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ],
)
def test_every_spelling_of_loopback_is_refused(host: str) -> None:
    with pytest.raises((AddressRefusedError, EndpointError)):
        vetted(f"http://{host}:11435")


def test_name_that_leads_inside_is_refused() -> None:
    with pytest.raises(AddressRefusedError):
        vetted("http://node.example", resolve=answering("192.168.1.10"))


def test_name_that_leads_outside_and_inside_is_refused() -> None:
    with pytest.raises(AddressRefusedError):
        vetted("http://node.example", resolve=answering("1.1.1.1", "127.0.0.1"))


def test_name_of_public_addresses_yields_exactly_those() -> None:
    found = vetted("https://node.example/agent", resolve=answering("1.1.1.1", "2606:4700::1"))
    assert [str(address) for address in found] == ["1.1.1.1", "2606:4700::1"]


def test_name_without_address_does_not_resolve() -> None:
    with pytest.raises(NameUnresolvedError):
        vetted("http://node.example", resolve=answering())


def test_system_resolver_reports_an_impossible_name() -> None:
    with pytest.raises(NameUnresolvedError):
        asyncio.run(system_resolver("a" * 70 + ".invalid", 80))
