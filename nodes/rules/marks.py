"""Marks that identify a machine: its hardware hash and its endpoint, in a normal form. Pure.

Nodes state both themselves, so a mark is a hint and not a proof. A value that many honest machines share (an
empty hash, an address in a private network) is not a mark.
"""

import ipaddress
import re
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

LONGEST_MARK: Final = 300

_DEFAULT_PORTS = {"http": 80, "https": 443}
# What agents send if they do not know the hash, and BLAKE3 and SHA-256 of the empty string.
_SAYS_NOTHING = frozenset({"", "none", "null", "nil", "na", "n/a", "unknown", "undefined"})
_HASHES_OF_NOTHING = frozenset(
    {
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
)
# Addresses that mean a different machine in each network: loopback, private, carrier-grade NAT, link-local.
_SHARED_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.168.0.0/16", "224.0.0.0/3", "::/127", "fc00::/7", "fe80::/10", "ff00::/8",
    )
)  # fmt: skip
# Names that mean a different machine in each network (RFC 6761, RFC 6762, RFC 8375, and .internal).
_LOCAL_NAMES = re.compile(r"(^|\.)(localhost|local|internal|home\.arpa|lan|home|corp)$")


class MarkKind(StrEnum):
    """What a mark is: a hardware hash or an endpoint."""

    HARDWARE = "hardware"
    ENDPOINT = "endpoint"


def hardware_mark(hardware_hash: str) -> str:
    """The hash in lower case without white space, or "" if it does not identify a machine."""
    text = "".join(hardware_hash.split()).casefold()
    value = text.rpartition(":")[2]
    if value in _SAYS_NOTHING or value in _HASHES_OF_NOTHING or not value.strip("0"):
        return ""
    return text[:LONGEST_MARK]


def endpoint_mark(endpoint: str) -> str:
    """`host:port` in one spelling, or "" if the endpoint does not identify a machine.

    Scheme and path are ignored, because they are easy to change. The port counts, because the nodes of a
    household share one address. Loopback, private and link-local addresses and names of local networks
    identify no machine.
    """
    try:
        parts = urlsplit(endpoint.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    port = port or _DEFAULT_PORTS.get(parts.scheme.lower(), 0)
    host = host.rstrip(".").casefold()
    if not host or not port:
        return ""
    address = _address(host)
    if address is None:
        if "." not in host or _LOCAL_NAMES.search(host):
            return ""
        return f"{host}:{port}"[:LONGEST_MARK]
    if any(address in network for network in _SHARED_NETWORKS):
        return ""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
