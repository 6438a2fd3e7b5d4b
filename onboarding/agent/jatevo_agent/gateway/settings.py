"""The keys of `agent.yaml` that say who may ask the gateway, and how. Pure: values in, values out."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Union

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

SHORTEST_KEY_CHARACTERS = 20
CONSOLE_WORD = "console"

_KEY = re.compile(rf"[\x21-\x7e]{{{SHORTEST_KEY_CHARACTERS},}}")


class SettingError(ValueError):
    """The value of a key cannot be used. The message says why and is for the operator."""


@dataclass(frozen=True)
class AllowFrom:
    """The networks that may connect. Without any, every address may."""

    networks: tuple[Network, ...] = ()
    console: bool = False
    """Also the networks that the console publishes for its validators and gateways."""

    @property
    def everyone(self) -> bool:
        """Whether every address may connect."""
        return not self.networks and not self.console


EVERYONE = AllowFrom()


@dataclass(frozen=True)
class TlsFiles:
    """PEM files. With `client_ca`, `/v1` is only for clients with a certificate of that authority."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


def keys_in(value: object) -> tuple[str, ...]:
    """The bearer keys that a list names. Raises SettingError."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(key, str) and _KEY.fullmatch(key) for key in value):
        raise SettingError(
            f"must be a list of keys of at least {SHORTEST_KEY_CHARACTERS} printable ASCII characters"
        )
    return tuple(dict.fromkeys(value))


def allow_from_in(value: object) -> AllowFrom:
    """The networks that a list names: addresses, CIDRs and the word `console`. Raises SettingError."""
    if value is None:
        return AllowFrom()
    if not isinstance(value, list):
        raise SettingError(f"must be a list of networks, like [203.0.113.0/24, {CONSOLE_WORD}]")
    networks = [network_in(item) for item in value if item != CONSOLE_WORD]
    return AllowFrom(networks=tuple(networks), console=CONSOLE_WORD in value)


def network_in(item: object) -> Network:
    """The network that an address or CIDR names. Raises SettingError."""
    try:
        if not isinstance(item, str):
            raise ValueError
        return ipaddress.ip_network(item, strict=False)
    except ValueError as error:
        raise SettingError(
            f"{item!r} is not an address, a network like 203.0.113.0/24, or console"
        ) from error


def tls_in(value: object) -> TlsFiles | None:
    """The files that a mapping names. Raises SettingError if one of them is missing."""
    if value is None:
        return None
    if not isinstance(value, dict) or not {"certificate", "key"} <= set(value) <= {
        "certificate",
        "key",
        "client_ca",
    }:
        raise SettingError("must have a certificate and a key, and may have a client_ca")
    client_ca = value.get("client_ca")
    return TlsFiles(
        certificate=_file(value["certificate"]),
        key=_file(value["key"]),
        client_ca=None if client_ca is None else _file(client_ca),
    )


def _file(value: object) -> Path:
    if not isinstance(value, str) or not value:
        raise SettingError("must name files")
    path = Path(value).expanduser()
    if not path.is_file():
        raise SettingError(f"{value} is not a file")
    return path
