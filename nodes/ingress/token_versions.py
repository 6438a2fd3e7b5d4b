"""What this process remembers of nodes' tokens, so that not every heartbeat asks PostgreSQL for its token's version."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping


class TokenVersions:
    """The version of each node's token when PostgreSQL was last asked, for the `most` nodes that were heard last.

    Any of them may have ended since, so whoever uses one has PostgreSQL compare it before anything is written. Safe to
    use in several threads.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._versions: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, node_ids: Collection[str]) -> dict[str, int]:
        """The versions of those that are remembered."""
        found = {}
        with self._lock:
            for node_id in node_ids:
                version = self._versions.get(node_id)
                if version is not None:
                    self._versions.move_to_end(node_id)
                    found[node_id] = version
        return found

    def learn(self, node_ids: Collection[str], versions: Mapping[str, int]) -> None:
        """Remembers what PostgreSQL said about these nodes. Those that it does not know are not remembered."""
        with self._lock:
            for node_id in node_ids:
                self._versions.pop(node_id, None)
            self._versions.update(versions)
            while len(self._versions) > self._most:
                self._versions.popitem(last=False)

    def forget(self, node_id: str) -> None:
        """Has the node's next heartbeat ask PostgreSQL."""
        with self._lock:
            self._versions.pop(node_id, None)

    def forget_all(self) -> None:
        """Restores the state of a new process."""
        with self._lock:
            self._versions.clear()
