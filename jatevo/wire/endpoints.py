"""Endpoints: the addresses at which validators probe nodes, and the rule that they must meet.

Run a Node, registration, heartbeats, the agent's configuration and the validator all use this rule, so
that no endpoint is accepted in one place and refused in another.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Union
from urllib.parse import urlsplit

IPAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_ENDPOINT_CHARACTERS = 300
MAX_HOST_CHARACTERS = 253  # RFC 1035, without the final dot

_VISIBLE_ASCII = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
# resolvers read such a name as an IPv4 address in another notation (127.1, 0x7f000001)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


class EndpointError(ValueError):
    """The text is not an endpoint that a validator would probe. The message says why."""


@dataclass(frozen=True)
class Endpoint:
    """The parts of a node's base URL. `host` is a name in lower case or an address without brackets."""

    scheme: str
    host: str
    port: int
    path: str  # '' or '/…' without a trailing slash

    @property
    def host_header(self) -> str:
        """The value of `Host`: IPv6 in brackets, and the port unless it is the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> IPAddress | None:
        """The host as an IP address; None if it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def is_loopback(self) -> bool:
        """Whether it is on the machine that connects."""
        return is_loopback(self.host)

    def url_at(self, address: IPAddress, path: str) -> str:
        """The URL of a path below the endpoint, with `address` instead of the host name."""
        host = f"[{address}]" if address.version == 6 else str(address)
        return f"{self.scheme}://{host}:{self.port}{self.path}{path}"

    def __str__(self) -> str:
        """The endpoint in its normal spelling, which can be compared."""
        return f"{self.scheme}://{self.host_header}{self.path}"


def parse_endpoint(text: str) -> Endpoint:
    """Parse an endpoint: http or https, a host, and optionally a port and a path.

    International names must be in ASCII form. Raises EndpointError if it is not an endpoint.
    """
    if len(text) > MAX_ENDPOINT_CHARACTERS:
        raise EndpointError(f"must be at most {MAX_ENDPOINT_CHARACTERS} characters")
    if not _VISIBLE_ASCII.fullmatch(text) or "\\" in text:
        raise EndpointError("must be a plain URL like http://203.0.113.7:11435, in ASCII and without spaces")
    if "?" in text or "#" in text:
        raise EndpointError("must not contain a query (?) or a fragment (#)")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise EndpointError("has no valid host and port") from error
    if parts.scheme not in DEFAULT_PORTS:
        raise EndpointError("must begin with http:// or https://")
    if "@" in parts.netloc:
        raise EndpointError("must not contain a user name or password")
    host = parts.netloc if port is None else parts.netloc.rpartition(":")[0]
    if port == 0:
        raise EndpointError("has no valid host and port")
    return Endpoint(
        scheme=parts.scheme,
        host=_host(host),
        port=DEFAULT_PORTS[parts.scheme] if port is None else port,
        path=parts.path.rstrip("/"),
    )


def is_loopback(host: str) -> bool:
    """Whether a host name or address without brackets is the machine itself (RFC 6761: `.localhost`)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def endpoint_problem(text: str) -> str | None:
    """What is wrong with an endpoint, as a message to its author. None if nothing is."""
    try:
        parse_endpoint(text)
    except EndpointError as error:
        return str(error)
    return None


def _host(text: str) -> str:
    """The host as a name in lower case or an address in its shortest form."""
    if text.startswith("["):
        if "%" in text:
            raise EndpointError("must not contain an IPv6 zone (%)")
        try:
            return str(ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]")))
        except ValueError as error:
            raise EndpointError("has no valid host and port") from error
    name = text.lower()
    labels = name.removesuffix(".").split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError as error:
            raise EndpointError("has no valid host and port") from error
    if len(name) > MAX_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, labels)):
        raise EndpointError("has no valid host and port")
    return name
