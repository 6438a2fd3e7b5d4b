"""The report of `doctor --report`: what support needs to know, and nothing that must stay secret."""

from __future__ import annotations

import ipaddress
import json
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from .. import __version__
from ..config import Config
from ..service import Service
from .findings import Finding, lines

LAST_LOG_LINES = 40
MOST_LOG_BYTES = 64 * 1024

_SECRET_KEYS = frozenset({"enrollment_token", "node_token", "gateway_keys"})
_TOKEN = re.compile(r"\b(whsec|jv[a-z])_[A-Za-z0-9+/=_-]+")
_BEARER = re.compile(r"(?i)\b(bearer|authorization:?)\s+\S+")
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
_EMAIL = re.compile(r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}\b")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
_IPV6 = re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")


def report(config_path: Path, config: Config, service: Service, findings: Iterable[Finding]) -> str:
    """The report's text, redacted."""
    parts = [
        "```",
        f"jatevo-agent {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"service: {service.name}",
        "",
        *lines(findings),
        "",
        f"agent.yaml: {json.dumps(_shown_config(config_path), ensure_ascii=False)}",
        "",
        *(service.log_lines() or _last_log_lines(config_path.absolute().with_name("agent.log"))),
        "```",
    ]
    return redacted("\n".join(parts), config, Path.home())


def redacted(text: str, config: Config, home: Path) -> str:
    """The text without tokens, keys, wallets, public addresses, e-mail addresses and the user's folder.

    Addresses of this machine and of private networks stay, because they tell what is wrong and not where.
    """
    text = _TOKEN.sub(r"\1_[redacted]", text)
    text = _BEARER.sub(r"\1 [redacted]", text)
    text = _PASSWORD_IN_URL.sub("[redacted]@", text)
    secrets = [*config.gateway_keys, config.enrollment_token, config.node_token]
    for secret in filter(None, secrets):
        text = text.replace(secret, "[redacted]")
    if config.wallet:
        text = text.replace(config.wallet.address, "[wallet]")
    text = _EMAIL.sub("[e-mail]", text)
    for pattern in (_IPV4, _IPV6):
        text = pattern.sub(lambda match: _shown_address(match[0]), text)
    return re.sub(rf"{re.escape(str(home))}(?![\w.-])", "~", text) if len(home.parts) > 1 else text


def _shown_address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text  # a time, a version
    return "[address]" if address.is_global else text


def _shown_config(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {str(key): "[set]" if key in _SECRET_KEYS and value else value for key, value in document.items()}


def _last_log_lines(path: Path) -> list[str]:
    """The end of the log beside agent.yaml, for services whose manager keeps none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST_LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return [f"{path.name}: none beside agent.yaml"]
    return [f"the last lines of {path.name}:", *text.splitlines()[-LAST_LOG_LINES:]]
