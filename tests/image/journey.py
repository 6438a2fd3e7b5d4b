"""What a person and a node of theirs do with a console that is up: through the proxy, over TLS."""

import json
import secrets
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from nacl.signing import SigningKey

from jatevo.wire.keys import public_key_text
from jatevo.wire.signing import sign
from jatevo.wire.webhook import new_message_id, secret_of, sign_request
from tests.image.engine import Problem

NODE = "image-test-01"


class Proxy:
    """The console at `https://HOST`, whose proxy is published on a port of this machine."""

    def __init__(self, host: str, port: int, certificate: Path) -> None:
        self._host = host
        self._client = httpx.Client(
            base_url=f"https://127.0.0.1:{port}",
            verify=ssl.create_default_context(cafile=str(certificate)),
            trust_env=False,
            timeout=30.0,
            headers={"Host": host},
        )

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One request, whose certificate must be the host's."""
        return self._client.request(
            method,
            path,
            content=body,
            headers={"Content-Type": "application/json", **(headers or {})},
            extensions={"sni_hostname": self._host},
        )

    def expect(self, status: int, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A request that must be answered with that status. Raises Problem."""
        raw = b"" if body is None else json.dumps(body).encode()
        answer = self.ask(
            method, path, raw, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        if answer.status_code != status:
            raise Problem(f"{method} {path}: {answer.status_code}, not {status}.\n{answer.text[:2000]}")
        return answer


class Person:
    """Somebody who has signed in, for the API and for pages."""

    def __init__(self, proxy: Proxy, email: str, password: str) -> None:
        answer = proxy.expect(200, "POST", "/v1/auth/login", {"email": email, "password": password})
        self.bearer = f"Bearer {answer.json()['access']}"
        flags = answer.headers.get_list("set-cookie")
        if not flags or not all("Secure" in each and "HttpOnly" in each for each in flags):
            raise Problem(f"The login's cookies are not safe: {flags}")
        self.cookie = "; ".join(each.partition(";")[0] for each in flags)


class NewNode:
    """A node, enrolled by a person, which signs with a key of its own."""

    def __init__(self, proxy: Proxy, person: Person) -> None:
        self._proxy = proxy
        self._key = SigningKey.generate()
        enrolment = proxy.expect(
            201, "POST", "/v1/enrollments", {"node_id": NODE}, Authorization=person.bearer
        ).json()
        self._token = proxy.expect(
            201,
            "POST",
            "/v1/nodes/register",
            {
                "node_id": NODE,
                "region": "eu-central",
                "runtime": "vllm",
                "public_key": public_key_text(bytes(self._key.verify_key)),
                "models": ["llama3.1-8b"],
            },
            Authorization=f"Bearer {enrolment['token']}",
        ).json()["node_token"]

    def beat(self) -> httpx.Response:
        return self._post(
            "/v1/nodes/heartbeat", {"node_id": NODE, "ts": time.time(), "metrics": {"uptime": 1}}
        )

    def post_receipt(self) -> str:
        """Signs and posts a receipt. Returns its request id. Raises Problem if it is not accepted."""
        request_id = f"r_{secrets.token_urlsafe(12)}"
        now = int(time.time())
        receipt = {
            "version": "1.0",
            "request_id": request_id,
            "node_id": NODE,
            "region": "eu-central",
            "ts_start": now - 2,
            "ts_end": now,
            "model_id": "llama3.1-8b",
            "model_hash": "sha256:" + "a" * 64,
            "prompt_hash": "blake3:" + "b" * 64,
            "tokens_input": 128,
            "tokens_output": 92,
            "p95_ms": 310,
            "hedged": False,
            "cache_hit": False,
        }
        answer = self._post("/v1/receipts", sign(receipt, self._key))
        if answer.status_code != httpx.codes.CREATED or not answer.json()["verified"]:
            raise Problem(f"The receipt was not accepted: {answer.status_code} {answer.text}")
        return request_id

    def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        raw = json.dumps(body).encode()
        signed = sign_request(secret_of(self._token), new_message_id(), int(time.time()), raw)
        return self._proxy.ask("POST", path, raw, {"X-Node-Id": NODE, **signed})


def see_receipt(proxy: Proxy, person: Person, request_id: str) -> None:
    """The receipt in the API and on its page. Raises Problem."""
    found = proxy.expect(200, "GET", f"/v1/receipts/{NODE}/{request_id}", Authorization=person.bearer).json()
    page = proxy.expect(200, "GET", f"/receipts/{NODE}/{request_id}/", Cookie=person.cookie).text
    if found["request_id"] != request_id or request_id not in page:
        raise Problem(f"The receipt {request_id} is not shown.")
