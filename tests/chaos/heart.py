"""A node's heartbeats, sent until told to end."""

import threading
from collections import Counter
from collections.abc import Collection

import httpx

from tests.chaos.insistent_node import InsistentNode

SECONDS_BETWEEN_HEARTBEATS = 1.0


class Heart(threading.Thread):
    """Sends heartbeats and counts the answers by status, 0 for none. Others than `expected` are surprises."""

    def __init__(self, node: InsistentNode, expected: Collection[int]) -> None:
        super().__init__(name=f"heart of {node.node_id}", daemon=True)
        self.statuses: Counter[int] = Counter()
        self.surprises: list[str] = []
        self.ending = threading.Event()
        self._node = node
        self._expected = expected

    def run(self) -> None:
        while not self.ending.wait(SECONDS_BETWEEN_HEARTBEATS):
            try:
                answer = self._node.beat()
            except httpx.HTTPError:
                self.statuses[0] += 1
                continue
            self.statuses[answer.status_code] += 1
            if answer.status_code not in self._expected:
                self.surprises.append(f"heartbeat: {answer.status_code} {answer.text[:200]}")
