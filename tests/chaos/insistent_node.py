"""A node that sends each receipt until the console has acknowledged it."""

import json
import random
import threading
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

import httpx
from nacl.signing import SigningKey
from standardwebhooks.webhooks import Webhook

from jatevo.wire.keys import public_key_text
from jatevo.wire.signing import sign

SECONDS_BETWEEN_POSTS = 0.21  # five a second are allowed
SECONDS_BEFORE_RETRY = 0.1
MOST_IN_A_BATCH = 20


@dataclass
class Ledger:
    """The console's answers on the receipts of a node. The digests are of the exact bytes sent."""

    acknowledged: dict[str, str] = field(default_factory=dict)  # request id to SHA-256
    duplicates: int = 0  # acknowledged by a 200: it had been stored, and only the answer was lost
    retries: int = 0
    surprises: list[str] = field(default_factory=list)  # answers that no receipt of ours should get
    answers: list[tuple[float, int, float]] = field(
        default_factory=list
    )  # asked at (monotonic), status, seconds


@dataclass(frozen=True)
class Post:
    """A request body, which does not change between attempts, and the digests of its receipts."""

    body: bytes
    digests: dict[str, str]
    is_batch: bool


class InsistentNode:
    """Registers itself. `start` sends until `finish`, which waits for the last acknowledgement.

    It registers at `url` and posts to `lane`, or to `url` too. After an answer with one of `retried` it sends the post
    again at once, after one of `postponed` at the end.
    """

    def __init__(
        self,
        url: str,
        node_id: str,
        enrollment_token: str,
        *,
        batches: bool = True,
        most_in_a_batch: int = MOST_IN_A_BATCH,
        lane: str = "",
        retried: Collection[int] = (429, 503),
        postponed: Collection[int] = (),
    ) -> None:
        self.node_id = node_id
        self.ledger = Ledger()
        self._key = SigningKey.generate()
        self._batches = batches
        self._most_in_a_batch = most_in_a_batch
        self._retried = retried
        self._postponed = postponed
        self._until_the_end: list[Post] = []
        self._random = random.Random(node_id)
        self._client = httpx.Client(base_url=lane or url, timeout=10, trust_env=False)
        self.token = self._register(url, enrollment_token)
        self._webhook = Webhook(self.token)
        self._follows = True
        self._ahead_seconds = 0.0  # the console's clock, of this machine's
        self._ending = threading.Event()
        self._giving_up = threading.Event()
        self._thread = threading.Thread(target=self._send_until_told, name=node_id, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, timeout_seconds: float) -> None:
        """Start no new receipt, and wait until the current one is acknowledged."""
        self._ending.set()
        self._thread.join(timeout_seconds)
        self._giving_up.set()
        assert not self._thread.is_alive(), f"{self.node_id} still waits for an acknowledgement"
        self._client.close()

    def follow(self, follows: bool) -> None:
        """Whether it takes over the console's time if the clocks differ too much, as the agent does."""
        self._follows = follows
        self._ahead_seconds = 0.0

    def beat(self) -> httpx.Response:
        """Sends a heartbeat and ignores the result, but for the console's time if it follows that."""
        answer = self.send("/v1/nodes/heartbeat", self.heartbeat())
        if self._follows and answer.status_code == 401 and answer.json()["error"]["type"] == "clock_skew":
            self._ahead_seconds = answer.json()["error"]["server_time"] - time.time()
        return answer

    def heartbeat(self) -> bytes:
        """A heartbeat of this moment."""
        metrics = {"uptime": 1.0, "gpu_util": 0.5}
        return json.dumps({"node_id": self.node_id, "ts": self._now(), "metrics": metrics}).encode()

    def receipt(self) -> bytes:
        """A receipt that was never sent."""
        return self._receipt()[1]

    def send(self, path: str, body: bytes) -> httpx.Response:
        return self._client.post(path, content=body, headers=self.headers(body))

    def headers(self, body: bytes) -> dict[str, str]:
        """The headers of a request that was never sent."""
        message_id, now = f"msg_{uuid.uuid4().hex}", datetime.fromtimestamp(self._now(), UTC)
        return {
            "Content-Type": "application/json",
            "X-Node-Id": self.node_id,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message_id, now, body.decode()),
        }

    def abandon(self) -> None:
        """Stop without checks: the run has failed elsewhere, or never started it."""
        self._ending.set()
        self._giving_up.set()
        if not self._thread.is_alive():
            self._client.close()

    def _now(self) -> float:
        return time.time() + self._ahead_seconds

    def _register(self, url: str, enrollment_token: str) -> str:
        answer = httpx.post(
            f"{url}/v1/nodes/register",
            timeout=10,
            trust_env=False,
            headers={"Authorization": f"Bearer {enrollment_token}"},
            json={
                "node_id": self.node_id,
                "region": "eu-central",
                "runtime": "vllm",
                "public_key": public_key_text(bytes(self._key.verify_key)),
            },
        )
        assert answer.status_code == 201, answer.text
        token = answer.json()["node_token"]
        assert isinstance(token, str)
        return token

    def _send_until_told(self) -> None:
        while not self._ending.is_set():
            started = time.monotonic()
            self._insist(self._next_post())
            self._ending.wait(max(0.0, SECONDS_BETWEEN_POSTS - (time.monotonic() - started)))
        for post in self._until_the_end:
            self._insist(post)

    def _next_post(self) -> Post:
        if self._batches and self._random.random() < 0.3:
            raws = dict(self._receipt() for _ in range(self._random.randint(1, self._most_in_a_batch)))
            body = b'{"receipts": [' + b",".join(raws.values()) + b"]}"
            return Post(body, {name: sha256(raw).hexdigest() for name, raw in raws.items()}, is_batch=True)
        request_id, raw = self._receipt()
        return Post(raw, {request_id: sha256(raw).hexdigest()}, is_batch=False)

    def _receipt(self) -> tuple[str, bytes]:
        request_id = f"r_{uuid.uuid4().hex}"
        now = int(self._now())
        receipt = sign(
            {
                "version": "1.0",
                "request_id": request_id,
                "node_id": self.node_id,
                "region": "eu-central",
                "ts_start": now - 2,
                "ts_end": now,
                "model_id": "llama3.1-8b",
                "model_hash": "sha256:" + "a1" * 32,
                "prompt_hash": "blake3:" + self._random.randbytes(32).hex(),
                "tokens_input": self._random.randint(1, 4000),
                "tokens_output": self._random.randint(1, 2000),
                "p95_ms": self._random.randint(20, 900),
                "s3_checkpoints": [],
                "hedged": False,
                "cache_hit": self._random.random() < 0.2,
            },
            self._key,
        )
        return request_id, json.dumps(receipt).encode()

    def _insist(self, post: Post) -> None:
        """Sends the same bytes, each time with a new message id, until the console acknowledges them."""
        while not self._giving_up.is_set():
            asked = time.monotonic()
            try:
                answer = self.send("/v1/receipts", post.body)
            except httpx.HTTPError:
                answer = None
            status = 0 if answer is None else answer.status_code
            self.ledger.answers.append((asked, status, time.monotonic() - asked))
            if answer is not None and answer.status_code in (200, 201):
                self._note(post, answer)
                return
            if answer is not None and answer.status_code in self._postponed and not self._ending.is_set():
                self._until_the_end.append(post)
                return
            if answer is not None and answer.status_code not in self._retried:
                self.ledger.surprises.append(f"{answer.status_code} {answer.text[:200]}")
                if answer.status_code < 500:
                    return
            self.ledger.retries += 1
            self._giving_up.wait(SECONDS_BEFORE_RETRY * (1 + self._random.random()))

    def _note(self, post: Post, answer: httpx.Response) -> None:
        if not post.is_batch:
            self.ledger.acknowledged |= post.digests
            self.ledger.duplicates += answer.json()["duplicate"]
            return
        for result in answer.json()["results"]:
            if result["status"] in (200, 201):
                self.ledger.acknowledged[result["request_id"]] = post.digests[result["request_id"]]
                self.ledger.duplicates += result["status"] == 200
            else:
                self.ledger.surprises.append(json.dumps(result)[:200])
