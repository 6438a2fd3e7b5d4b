"""Who may connect, and who may ask for completions."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from .refusals import Refused
from .settings import Address, AllowFrom, Network

STARTING_RETRY_SECONDS = 2

_BEARER = "bearer "


class Access:
    """The rules of one node. `use_keys` and `use_published` may be called from other threads."""

    def __init__(self, allow_from: AllowFrom) -> None:
        self._allow_from = allow_from
        self._published: tuple[Network, ...] = ()
        self._keys: tuple[bytes, ...] = ()

    def use_keys(self, keys: Iterable[str]) -> None:
        """Accept these bearer keys from now on, and no others."""
        self._keys = tuple(key.encode() for key in keys)

    def use_published(self, networks: Sequence[Network]) -> None:
        """Allow the networks that the console publishes, if `agent.yaml` says so."""
        self._published = tuple(networks) if self._allow_from.console else ()

    def may_connect(self, host: str) -> bool:
        """Whether the address is in a network that may connect. This machine itself always may."""
        if self._allow_from.everyone:
            return True
        address = _address(host)
        return address is not None and (
            address.is_loopback
            or any(
                address.version == network.version and address in network
                for network in (*self._allow_from.networks, *self._published)
            )
        )

    def require_key(self, authorization: str) -> None:
        """Raise Refused unless the header has one of the keys. All keys are compared, in constant time.

        Before the node is registered there are none yet. That is not the caller's fault.
        """
        if not self._keys:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "node_starting",
                "The node is starting and serves nobody yet.",
                retry_after_seconds=STARTING_RETRY_SECONDS,
            )
        given = authorization[len(_BEARER) :].strip() if authorization.lower().startswith(_BEARER) else ""
        offered = given.encode("utf-8", "surrogateescape")
        matches = [hmac.compare_digest(offered, key) for key in self._keys]
        if not any(matches):
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "invalid_token",
                "A bearer key of one of the node's gateways is needed.",
            )


def is_loopback(host: str) -> bool:
    """Whether a peer's address is this machine."""
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> Address | None:
    """The peer's address. A socket for both families sees IPv4 as `::ffff:…`, and IPv6 may have a zone."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
