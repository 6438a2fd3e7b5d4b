"""The newest agent that the console offers: `GET /install/agent.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from . import __version__
from .wire.endpoints import is_loopback

TIMEOUT_SECONDS = 10.0

_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_WHEEL_NAME = re.compile(r"jatevo_agent-[A-Za-z0-9._]+-py3-none-any\.whl")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class NoAnswer(Exception):
    """The console does not say which agent is the newest. The message says why."""


@dataclass(frozen=True)
class Newest:
    """A wheel that the console offers."""

    version: str
    name: str
    """The file's name below `/install/agent/` of the console."""
    sha256: str
    requires_python: str


def console_http(console_url: str) -> httpx.Client:
    """A client for public pages of the console. It follows no redirects, and no proxy to this machine."""
    return httpx.Client(
        base_url=console_url,
        timeout=TIMEOUT_SECONDS,
        headers={"User-Agent": f"jatevo-agent/{__version__}"},
        follow_redirects=False,
        trust_env=not is_loopback(urlsplit(console_url).hostname or ""),
    )


def newest_agent(console_url: str) -> Newest:
    """What the console offers. Raises NoAnswer."""
    try:
        with console_http(console_url) as http:
            response = http.get("/install/agent.json")
            document = response.json() if response.status_code == httpx.codes.OK else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise NoAnswer(f"{console_url} does not say which agent is the newest: {error}.") from error
    if document is None:
        raise NoAnswer(f"{console_url} offers no agent: HTTP status {response.status_code}.")
    return _parsed(document, console_url)


def is_older(version: str, than: str) -> bool:
    """Whether the first of two versions like 2.0.1 is the older one. False if either is something else."""
    if not (_VERSION.fullmatch(version) and _VERSION.fullmatch(than)):
        return False
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> list[int]:
    numbers = [int(number) for number in version.split(".")]
    while numbers and numbers[-1] == 0:  # 2.0 is 2.0.0
        numbers.pop()
    return numbers


def _parsed(document: Any, console_url: str) -> Newest:
    said: Mapping[str, Any] = document if isinstance(document, dict) else {}
    newest = Newest(*(str(said.get(name, "")) for name in _MEMBERS))
    if (
        not _VERSION.fullmatch(newest.version)
        or not _WHEEL_NAME.fullmatch(newest.name)
        or not _SHA256.fullmatch(newest.sha256)
    ):
        raise NoAnswer(f"{console_url} says which agent is the newest in a form that is not understood.")
    return newest


_MEMBERS = ("version", "name", "sha256", "requires_python")
