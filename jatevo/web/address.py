"""The network address of the caller."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

# The owner of an IPv6 address usually has its whole /64.
_IPV6_NEIGHBOURS = 64


def client_address(request: HttpRequest) -> str:
    """The caller's address. Of X-Forwarded-For, only the entries that trusted proxies added are used."""
    return address_behind_proxies(
        str(request.META.get("REMOTE_ADDR", "")), request.headers.get("X-Forwarded-For", "")
    )


def address_behind_proxies(direct: str, forwarded_for: str) -> str:
    """The caller's address, if `direct` is connected to this server and sent that X-Forwarded-For."""
    hops = settings.TRUSTED_PROXIES
    forwarded = forwarded_for.split(",")
    if not hops or len(forwarded) < hops:
        return direct
    found = _read(forwarded[-hops].strip())
    return direct if found is None else str(found)


def client_network(request: HttpRequest) -> str:
    """The key for rate limits: the IPv4 address, or the /64 of an IPv6 address."""
    return network_of_address(client_address(request))


@lru_cache(maxsize=50_000)
def network_of_address(address: str) -> str:
    """The same for an address that is known."""
    found = _read(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, _IPV6_NEIGHBOURS), strict=False))
    return address if found is None else str(found)


def _read(text: str) -> IPv4Address | IPv6Address | None:
    """Parses an address, which proxies write alone, with a port, or in brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped or found
