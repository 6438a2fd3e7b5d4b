"""Clients that send one request after the other, as fast as they are answered, and count what came.

They do what a load balancer does: a request to which no answer came goes to the next server, byte for byte.
"""

import http.client
import threading
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from itertools import cycle
from urllib.parse import urlsplit

from tests.chaos.insistent_node import InsistentNode

UNLIMITED = {  # settings of a console for them
    f"JATEVO_LIMIT_{name}": "100000/second" for name in ("NODE", "RECEIPTS", "READS", "PAGES", "ADDRESS")
}


def turned(servers: Sequence[str], number: int) -> Sequence[str]:
    """The same servers, every second time in reverse."""
    return servers[::-1] if number // 3 % 2 else servers


class Client(threading.Thread):
    """Sends requests to the first of its servers, and to the next one if no answer comes."""

    def __init__(self, servers: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.answers: Counter[int] = Counter()
        self.failures: list[str] = []
        self.turned_away = 0  # asked the other server instead
        self.ending = threading.Event()
        self._servers = [_Connection(urlsplit(server).netloc) for server in servers]

    def run(self) -> None:
        while not self.ending.is_set():
            self.ask()
        for server in self._servers:
            server.close()

    @abstractmethod
    def ask(self) -> None:
        """One request."""

    def answer(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], *, right: int
    ) -> bool:
        """Whether the answer has the right status. Notes what came."""
        for _ in self._servers:
            found = self._servers[0].send(method, path, body, headers)
            if found is not None:
                status, text = found
                self.answers[status] += 1
                if status != right:
                    self.failures.append(f"{method} {path}: {status} {text[:200]!r}")
                return status == right
            self.turned_away += 1
            self._servers.append(self._servers.pop(0))
        self.failures.append(f"{method} {path}: no server answers")
        return False


class Poster(Client):
    """Posts a node's receipts."""

    def __init__(self, node: InsistentNode, servers: Sequence[str]) -> None:
        super().__init__(servers)
        self.acknowledged: list[str] = []  # SHA-256 of each receipt
        self._node = node

    def ask(self) -> None:
        body = self._node.receipt()
        if self.answer("POST", "/v1/receipts", body, self._node.headers(body), right=201):
            self.acknowledged.append(sha256(body).hexdigest())


class Beater(Client):
    """Posts a node's heartbeats."""

    def __init__(self, node: InsistentNode, servers: Sequence[str]) -> None:
        super().__init__(servers)
        self._node = node

    def ask(self) -> None:
        body = self._node.heartbeat()
        self.answer("POST", "/v1/nodes/heartbeat", body, self._node.headers(body), right=200)


class Reader(Client):
    """Reads the API and a page as a signed-in person."""

    PATHS = ("/v1/summary", "/v1/receipts?limit=5", "/v1/nodes?limit=5", "/status/")

    def __init__(self, token: str, servers: Sequence[str], paths: Sequence[str] = PATHS) -> None:
        super().__init__(servers)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._paths = cycle(paths)

    def ask(self) -> None:
        self.answer("GET", next(self._paths), None, self._headers, right=200)


class _Connection:
    """Keeps a connection alive, as proxies do."""

    def __init__(self, netloc: str) -> None:
        self._http = http.client.HTTPConnection(netloc, timeout=30)

    def send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes] | None:
        try:
            self._http.request(method, path, body, headers)
            answer = self._http.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._http.close()
            return None

    def close(self) -> None:
        self._http.close()
