"""The networks from which the console's validators and gateways connect, for `allow_from: [console]`.

They are asked for once an hour. The last answer is kept on disk, so that the node can be reached while the
console cannot. Until there is one, no address is allowed by it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import logs
from .backoff import Backoff
from .console import ConsoleClient, Unreachable
from .gateway.settings import Network, SettingError, network_in
from .state import replace_file

SECONDS_BETWEEN_LOOKS = 3600.0


class PublishedNetworks:
    """Keeps the published networks up to date. Call `run` in a thread."""

    def __init__(
        self,
        path: Path,
        console: ConsoleClient,
        use: Callable[[Sequence[Network]], None],
        stopping: threading.Event,
    ) -> None:
        self._path = path
        self._console = console
        self._use = use
        self._stopping = stopping
        self._backoff = Backoff(first_seconds=1.0, longest_seconds=300.0)
        self._used: tuple[Network, ...] = ()

    def run(self) -> None:
        """Use the networks on disk, then those that the console publishes, until `stopping` is set."""
        self._use_stored()
        while not self._stopping.is_set():
            self._stopping.wait(self.look())

    def look(self) -> float:
        """Ask the console once. Returns the seconds until the next time."""
        try:
            answer = self._console.networks()
        except Unreachable as error:
            return self._failed(str(error))
        if answer.status != 200:
            return self._failed(answer.reason, answer.retry_after_seconds)
        self._backoff.succeeded()
        networks = networks_in(answer.body)
        if networks != self._used:
            self._used = networks
            self._use(networks)
            logs.info("the console's networks may connect", networks=",".join(map(str, networks)) or "none")
            self._store(answer.body)
        return SECONDS_BETWEEN_LOOKS

    def _use_stored(self) -> None:
        try:
            stored = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return
        self._used = networks_in(stored)
        self._use(self._used)

    def _store(self, document: Mapping[str, Any]) -> None:
        try:
            replace_file(self._path, document)
        except OSError as error:
            logs.warning("the console's networks cannot be stored", reason=error.strerror)

    def _failed(self, reason: str, retry_after_seconds: float | None = None) -> float:
        delay = self._backoff.failed(retry_after_seconds)
        if self._backoff.failures == 1:
            logs.warning("the console's networks are not known; trying again", reason=reason)
        return delay


def networks_in(document: Any) -> tuple[Network, ...]:
    """The networks of an answer of `GET /v1/networks`. What is none is left out."""
    found: dict[Network, None] = {}
    for member in ("validators", "gateways"):
        items = document.get(member) if isinstance(document, dict) else None
        for item in items if isinstance(items, list) else []:
            try:
                found[network_in(item)] = None
            except SettingError:
                logs.warning("the console publishes something that is no network", given=repr(item)[:60])
    return tuple(found)
