"""Looks up the network (autonomous system) that a node's heartbeats come from, if an ASN database is
configured.

The file is a MaxMind DB such as GeoLite2-ASN. It is read into memory once per process, so that a heartbeat
does not wait for the disk and replacing the file does no harm. A new file is used from the next start.
Results are cached in memory by address. Only the network is stored, never the address.
"""

import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Any

import maxminddb
import structlog
from django.conf import settings
from maxminddb.const import MODE_MEMORY

log = structlog.get_logger(__name__)

LONGEST_NETWORK = 64
_ADDRESSES_REMEMBERED = 50_000


def network_of(address: str) -> str | None:
    """The network of an address, such as `AS64500 Example Net`. None if unknown or without a database."""
    return _look_up(settings.ASN_DATABASE, address) if settings.ASN_DATABASE else None


def problem_with(path: str) -> str:
    """Why the file cannot be used, or "" if it can."""
    try:
        with maxminddb.open_database(path, MODE_MEMORY) as reader:
            kind = reader.metadata().database_type
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        return f"{path} cannot be read as an ASN database: {error}"
    return "" if "asn" in kind.lower() else f"{path} is a database of another kind ({kind})"


@lru_cache(maxsize=2)
def _reader(path: str) -> maxminddb.Reader | None:
    """The database. If it cannot be used, logs one line and returns None."""
    problem = problem_with(path)
    if problem:
        log.error("nodes' networks are not looked up", reason=problem)
        return None
    return maxminddb.open_database(Path(path), MODE_MEMORY)


@lru_cache(maxsize=_ADDRESSES_REMEMBERED)
def _look_up(path: str, address: str) -> str | None:
    reader = _reader(path)
    if reader is None:
        return None
    try:
        parsed = ipaddress.ip_address(address)
        found: Any = reader.get(getattr(parsed, "ipv4_mapped", None) or parsed)
    except (ValueError, maxminddb.InvalidDatabaseError):
        # not an address, an IPv6 address in an IPv4 database, or a damaged record in the file
        return None
    number = found.get("autonomous_system_number") if isinstance(found, dict) else None
    if not isinstance(number, int):
        return None
    name = "".join(
        each for each in str(found.get("autonomous_system_organization") or "") if each.isprintable()
    )
    return f"AS{number} {name}".strip()[:LONGEST_NETWORK].strip()
