"""`jatevo-agent verify receipt.json`: whether a receipt is genuine."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from ..config import load_config
from ..exits import CannotRun, ExitCode
from ..newest import console_http
from ..state import StateFolder
from ..verify import parse_receipt, verify_receipt
from ..wire.keys import MalformedKeyError, public_key_text

TOKEN_VARIABLE = "JATEVO_ACCESS_TOKEN"  # noqa: S105 - the variable's name


def verify(options: argparse.Namespace) -> ExitCode:
    """Print the result: 0 if the receipt is genuine, 1 if it is not. Raises CannotRun without a key."""
    receipt = _receipt(options.receipt)
    node_id = str(receipt.get("node_id"))
    keys = options.key or _keys(options, node_id)
    try:
        result = verify_receipt(receipt, keys)
    except MalformedKeyError as error:
        raise CannotRun(f"The key {error}.") from error
    for problem in result.problems:
        print(problem)
    if result.problems:
        print("This receipt is not genuine.")
        return ExitCode.CRASHED
    print(f"Genuine: request {receipt['request_id']} of {node_id}, signed by {result.key}.")
    return ExitCode.STOPPED


def _receipt(path: Path) -> dict[str, Any]:
    try:
        return parse_receipt(path.read_bytes())
    except OSError as error:
        raise CannotRun(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CannotRun(f"{path} is not a receipt: {error}.") from error


def _keys(options: argparse.Namespace, node_id: str) -> list[str]:
    """The node's public keys: from the console if one is named, else this machine's node's own."""
    return _from_console(options.console, node_id) if options.console else _own(options.config, node_id)


def _own(config_path: Path, node_id: str) -> list[str]:
    if not config_path.exists():
        raise CannotRun(
            "Which key? Name the node's public key with --key ed25519:…, or ask a console with --console."
        )
    state = StateFolder(load_config(config_path).state_dir).load()
    if state is None or state.node_id != node_id:
        raise CannotRun(
            f"The receipt is of {node_id}, which is not this machine's node. Name its public key with"
            " --key ed25519:…, or ask its console with --console."
        )
    return [public_key_text(bytes(state.signing_key.verify_key)), *state.former_keys]


def _from_console(console_url: str, node_id: str) -> list[str]:
    """All public keys that the node has had, from `GET /v1/nodes/{node_id}`."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with console_http(console_url.rstrip("/")) as http:
            response = http.get(f"/v1/nodes/{quote(node_id, safe='')}", headers=headers)
            body = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise CannotRun(f"{console_url} does not answer: {error}.", ExitCode.TRY_LATER) from error
    if response.status_code in {401, 403}:
        raise CannotRun(
            f"{console_url} tells keys only to people who are signed in: put an access token"
            f" (POST /v1/auth/login) into {TOKEN_VARIABLE}."
        )
    keys = [key["public_key"] for key in body.get("keys", [])] if response.status_code == 200 else []
    if not keys:
        raise CannotRun(f"{console_url} knows no key of {node_id}, or you may not see it.")
    return keys
