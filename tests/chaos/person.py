"""A signed-in person who looks up what the console has stored."""

import time
from collections.abc import Iterator
from typing import Any, Protocol

import httpx

DRAIN_SECONDS = 60.0
PAGE = 200


class ConsoleAtWork(Protocol):
    """What a person needs to know about a running console."""

    url: str

    def credentials(self, role: str) -> Any:
        """The login of a role, as JSON for POST /v1/auth/login."""


class Person:
    """Uses the API in a role. Signs in again when the token has expired."""

    def __init__(self, console: ConsoleAtWork, role: str) -> None:
        self._client = httpx.Client(base_url=console.url, timeout=30, trust_env=False)
        self._credentials = console.credentials(role)
        self._sign_in()

    def _sign_in(self) -> None:
        answer = self._client.post("/v1/auth/login", json=self._credentials)
        assert answer.status_code == 200, answer.text
        self._client.cookies.clear()
        self.token = str(answer.json()["access"])
        self._client.headers["Authorization"] = f"Bearer {self.token}"

    def request(self, method: str, path: str, **options: Any) -> Any:
        answer = self._client.request(method, path, **options)
        if answer.status_code == 401:
            self._sign_in()
            answer = self._client.request(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json()

    def stored(self, node_id: str) -> Iterator[tuple[str, str]]:
        """The request ids and SHA-256 digests of all receipts of a node."""
        params: dict[str, str | int] = {"node_id": node_id, "limit": PAGE}
        while True:
            page = self.request("GET", "/v1/receipts", params=params)
            yield from ((line["request_id"], line["sha256"]) for line in page["results"])
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    def close(self) -> None:
        self._client.close()


def counted_by_metrics(person: Person, wanted: int) -> int:
    """requests_24h once the outbox has been shipped to ClickHouse, or the last figure if it is not."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while True:
        counted = person.request("GET", "/v1/summary")["requests_24h"]
        if counted == wanted or time.monotonic() > deadline:
            return counted or 0
        time.sleep(1)
