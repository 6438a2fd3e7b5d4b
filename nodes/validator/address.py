"""Which addresses a probe may connect to.

Endpoints are registered by node owners, who are not trusted. Without this check an owner could make the
validator call machines in its own network (SSRF). Names are resolved once, and the caller connects to the
addresses returned here, so that a name cannot resolve differently between check and connection.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from jatevo.wire.endpoints import Endpoint, IPAddress

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[IPAddress]]]


def _networks(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# IANA's special-purpose registries (RFC 6890 and its successors). None of these are hosts on the internet.
_SPECIAL_IPV4 = _networks(
    "0.0.0.0/8",  # this network; 0.0.0.0 connects to loopback
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier-grade NAT
    "127.0.0.0/8",
    "169.254.0.0/16",  # link-local, and the metadata services of clouds
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
)
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")  # so ::1, mapped, NAT64, ULA, link-local, multicast are out
_SPECIAL_IPV6 = _networks(
    "2001::/23",  # IETF protocols, with Teredo, which embeds IPv4
    "2001:db8::/32",
    "2002::/16",  # 6to4, which embeds IPv4
    "3fff::/20",
)
# Allowed with --allow-private: loopback and private networks, but no metadata services (link-local).
_PRIVATE = _networks(
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"
)


class AddressRefusedError(Exception):
    """The endpoint leads to an address that this validator may not connect to."""


class NameUnresolvedError(Exception):
    """The endpoint's name has no address."""


@dataclass(frozen=True)
class AddressPolicy:
    """Which addresses are permitted: public ones, and those that the validator's owner has allowed."""

    allow_private: bool = False
    networks: tuple[IPNetwork, ...] = ()

    def permits(self, address: IPAddress) -> bool:
        """Whether a probe may connect there. IPv4 written as IPv6 (mapped) never counts as public."""
        plain = _unmapped(address)
        if _within(address, self.networks) or _within(plain, self.networks):
            return True
        if self.allow_private and _within(plain, _PRIVATE):
            return True
        return _is_public(address)


async def vetted_addresses(
    endpoint: Endpoint, policy: AddressPolicy, resolve: Resolver
) -> Sequence[IPAddress]:
    """The permitted addresses of the endpoint, in order of preference.

    Raises NameUnresolvedError, or AddressRefusedError if any of the name's addresses is not permitted,
    because an honest name does not have both public and private addresses.
    """
    literal = endpoint.address
    addresses = [literal] if literal is not None else await resolve(endpoint.host, endpoint.port)
    if not addresses:
        raise NameUnresolvedError(endpoint.host)
    if not all(policy.permits(address) for address in addresses):
        raise AddressRefusedError(endpoint.host)
    return addresses


async def system_resolver(host: str, port: int) -> Sequence[IPAddress]:
    """Resolves a name with the operating system. Raises NameUnresolvedError.

    It runs in its own daemon thread. getaddrinfo cannot be interrupted, and a thread of a pool that hangs in
    it would delay the end of the process.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[IPAddress]] = loop.create_future()

    def settle(found: list[IPAddress] | None) -> None:
        if answer.done():
            return
        if found is None:
            answer.set_exception(NameUnresolvedError(host))
        else:
            answer.set_result(found)

    def ask() -> None:
        found: list[IPAddress] | None
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(ipaddress.ip_address(row[4][0]) for row in rows))
        except (OSError, ValueError):
            found = None
        with contextlib.suppress(RuntimeError):  # the loop has ended in the meantime
            loop.call_soon_threadsafe(settle, found)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    return await answer


def _unmapped(address: IPAddress) -> IPAddress:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not _within(address, _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not _within(address, _SPECIAL_IPV6)


def _within(address: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    return any(address in network for network in networks)
