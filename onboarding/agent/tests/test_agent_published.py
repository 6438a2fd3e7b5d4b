"""`allow_from: [console]`: the networks that the console publishes, also while it cannot be asked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from fake_console import ConsoleForAgents
from jatevo_agent.gateway.settings import Network
from jatevo_agent.published import SECONDS_BETWEEN_LOOKS, PublishedNetworks, networks_in
from registered_node import RegisteredNode

VALIDATORS, GATEWAYS = "192.0.2.0/24", "2001:db8::/48"


class Asking:
    """One agent's view of the networks."""

    def __init__(self, node: RegisteredNode, path: Path) -> None:
        self.used: list[str] = []
        self.stopping = threading.Event()
        self.published = PublishedNetworks(path, node.http, self._use, self.stopping)

    def _use(self, networks: Sequence[Network]) -> None:
        self.used = [str(network) for network in networks]

    def run_once(self) -> None:
        """What `run` does when the agent is stopped at once."""
        self.stopping.set()
        self.published.run()


def test_the_published_networks_are_used_and_stored(
    console: ConsoleForAgents, node: RegisteredNode, tmp_path: Path
) -> None:
    console.networks = {"validators": [VALIDATORS], "gateways": [GATEWAYS, VALIDATORS]}
    path = tmp_path / "networks.json"
    assert Asking(node, path).published.look() == SECONDS_BETWEEN_LOOKS
    console.stop()
    later = Asking(node, path)
    later.run_once()
    assert later.used == [VALIDATORS, GATEWAYS]
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_outage_keeps_what_was_known(
    console: ConsoleForAgents, node: RegisteredNode, tmp_path: Path
) -> None:
    console.networks = {"validators": [VALIDATORS], "gateways": []}
    asking = Asking(node, tmp_path / "networks.json")
    asking.published.look()
    console.stop()
    assert 0 < asking.published.look() < SECONDS_BETWEEN_LOOKS
    assert asking.used == [VALIDATORS]
    console.start()
    console.networks = {"validators": [], "gateways": [GATEWAYS]}
    asking.published.look()
    assert asking.used == [GATEWAYS]


def test_without_an_answer_nobody_is_allowed(
    console: ConsoleForAgents, node: RegisteredNode, tmp_path: Path
) -> None:
    console.networks = None  # 404, as from an older console
    asking = Asking(node, tmp_path / "networks.json")
    asking.published.look()
    asking.run_once()
    assert asking.used == []


def test_what_is_no_network_is_left_out() -> None:
    answer = {"validators": ["192.0.2.1", "x", 7, None, {}], "gateways": "192.0.2.2", "as_of": "…"}
    assert [str(network) for network in networks_in(answer)] == ["192.0.2.1/32"]
    assert networks_in([]) == ()
