"""Checks of the network: the console, the clock, the node's token, the endpoint."""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Iterator

import httpx

from ..config import Config
from ..newest import console_http
from ..server_view import NoServerView, ServerView, ask_console
from ..service import Service
from ..snapshot import Snapshot
from ..state import NodeState
from ..wire.endpoints import EndpointError, parse_endpoint
from ..wire.signing import verify_health
from .findings import Finding, Verdict

LISTENER_TIMEOUT_SECONDS = 5.0


def console_finding(config: Config) -> Finding:
    """Whether the console answers at all."""
    try:
        with console_http(config.console) as http:
            status = http.get("/healthz").status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(
            "console",
            Verdict.PROBLEM,
            f"{config.console} cannot be reached: {str(error) or type(error).__name__}",
            f"Try `curl -v {config.console}/healthz`: is the address right, and do DNS, firewall and proxy let it through?",
        )
    if status >= 500:
        return Finding(
            "console", Verdict.WARNING, f"{config.console} has trouble: HTTP status {status}", _OUTAGE
        )
    return Finding("console", Verdict.OK, f"{config.console} answers")


_OUTAGE = "Wait: the agent keeps its receipts and sends them when the console is back."


def view_findings(snapshot: Snapshot) -> Iterator[Finding]:
    """The clock, the token, and how the console sees the node."""
    if snapshot.state is None or not snapshot.is_registered:
        yield Finding(
            "registration",
            Verdict.PROBLEM,
            "the node is not registered",
            "Put an enrolment token from the console's page Run a Node into agent.yaml, and start the agent.",
        )
        return
    try:
        view = ask_console(snapshot.console, snapshot.state)
    except NoServerView as error:
        yield _no_view_finding(error)
        return
    yield _clock_finding(view)
    yield Finding("node token", Verdict.OK, "the console accepts it")
    yield from _standing_findings(view)


def _no_view_finding(error: NoServerView) -> Finding:
    if error.is_token_refused:
        return Finding(
            "node token",
            Verdict.PROBLEM,
            f"the console does not accept it: {error}",
            "Make a new one on the node's page (Manage, New token), and put it into agent.yaml as node_token."
            " A running agent takes it from there within seconds. Receipts are kept meanwhile.",
        )
    if error.is_unknown_there:
        return Finding("console's view", Verdict.UNKNOWN, "this console does not tell how it sees the node")
    return Finding("console's view", Verdict.UNKNOWN, f"it could not be asked: {error}")


def _clock_finding(view: ServerView) -> Finding:
    if view.clock_offset_seconds:
        return Finding(
            "clock",
            Verdict.WARNING,
            f"this machine's clock is off by {-view.clock_offset_seconds:+.0f} s; the agent uses the console's time",
            "Turn on network time: `sudo timedatectl set-ntp true` on Linux, or System Settings, General,"
            " Date & Time on a Mac.",
        )
    return Finding("clock", Verdict.OK, "close enough to the console's")


def _standing_findings(view: ServerView) -> Iterator[Finding]:
    if view.status == "active":
        yield Finding("console's view", Verdict.OK, "active", view.advice if view.reachable else "")
    else:
        yield Finding(
            "console's view",
            Verdict.PROBLEM,
            f"{view.status} ({view.status_reason})" if view.status_reason else view.status,
            view.advice or "The node's page on the console says what is missing.",
        )
    if view.reachable:
        yield Finding("reachable", Verdict.OK, f"validators reach it{_since(view.reachable_since)}")
    elif view.reachable is False or view.is_behind_nat:
        yield Finding(
            "reachable",
            Verdict.WARNING,
            f"online, but receives no traffic until validators reach the endpoint{_last_failure(view)}",
            view.advice or _HOW_TO_GET_REACHABLE,
        )
    else:
        yield Finding("reachable", Verdict.UNKNOWN, "no validator has tried yet")


_HOW_TO_GET_REACHABLE = (
    "Forward the endpoint's port on the router to this machine, use a public IPv6 address, or put a tunnel in"
    " front of it, and set endpoint in agent.yaml to the address that the internet sees."
)


def _since(moment: str | None) -> str:
    return f", since {moment}" if moment else ""


def _last_failure(view: ServerView) -> str:
    probe = view.last_probe or {}
    if probe.get("ok") is not False:
        return ""
    detail = next((str(probe[name]) for name in ("detail", "fault") if probe.get(name)), "")
    return f" (the last probe: {detail})" if detail.isprintable() and detail else ""


def listener_finding(config: Config, state: NodeState | None, service: Service) -> Finding:
    """Whether the agent answers at its own listen address, with the node's key."""
    host = {"::": "[::1]", "0.0.0.0": "127.0.0.1"}.get(config.listen_host, config.listen_host)  # noqa: S104
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    scheme = "https" if config.tls else "http"
    nonce = secrets.token_hex(16)
    url = f"{scheme}://{host}:{config.listen_port}/healthz"
    try:
        answer = httpx.get(
            url,
            params={"nonce": nonce},
            timeout=LISTENER_TIMEOUT_SECONDS,
            trust_env=False,
            verify=False,  # noqa: S501 - this machine, whatever name the certificate has
        )
        signature = answer.json().get("signature")
    except (httpx.HTTPError, json.JSONDecodeError, AttributeError, ValueError) as error:
        return Finding(
            "listener",
            Verdict.PROBLEM,
            f"nothing useful answers at {url}: {str(error) or type(error).__name__}",
            f"Is the agent running, and is another program on this port? Restart it: `{service.restart}`.",
        )
    if state is None or not verify_health(
        config.node_id, nonce, signature, bytes(state.signing_key.verify_key)
    ):
        return Finding(
            "listener",
            Verdict.PROBLEM,
            f"another program, or another node's agent, answers at {url}",
            "Set listen in agent.yaml to a free port, and endpoint to match.",
        )
    return Finding("listener", Verdict.OK, f"answers at {config.listen_host}:{config.listen_port}")


def endpoint_finding(config: Config) -> Finding:
    """Whether the endpoint is one that validators elsewhere could reach."""
    try:
        endpoint = parse_endpoint(config.endpoint)
    except EndpointError as error:
        return Finding("endpoint", Verdict.PROBLEM, str(error), "Correct endpoint in agent.yaml.")
    if _is_local(config.console):
        return Finding("endpoint", Verdict.OK, f"{endpoint}; the console is on this network too")
    address = endpoint.address
    if endpoint.is_loopback or (address is not None and not address.is_global):
        return Finding(
            "endpoint",
            Verdict.WARNING,
            f"{endpoint} is an address of this machine or network, which nobody elsewhere can reach",
            _HOW_TO_GET_REACHABLE,
        )
    return Finding("endpoint", Verdict.OK, str(endpoint))


def _is_local(console_url: str) -> bool:
    endpoint = parse_endpoint(console_url)
    address = endpoint.address
    return endpoint.is_loopback or (
        isinstance(address, (ipaddress.IPv4Address, ipaddress.IPv6Address)) and not address.is_global
    )
