"""What an agent wrote to a client's socket, read from the bytes: whose request, which tokens, and whether all of it."""

import json
from dataclasses import dataclass

import h11


@dataclass(frozen=True)
class Delivery:
    """An answer as it left the agent. `tokens` are the whole chunks of text, or the words of a whole body."""

    request_id: str
    status: int
    tokens: tuple[str, ...]
    is_complete: bool

    @property
    def is_completion(self) -> bool:
        return self.status == 200 and self.is_complete


def read_delivery(written: bytes) -> Delivery | None:
    """None if the agent did not get as far as an answer's headers."""
    if not written:
        return None
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="POST", target="/", headers=[("Host", "agent"), ("Content-Length", "0")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(written)
    answer: h11.Response | None = None
    body, is_complete = bytearray(), False
    while (event := reader.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        if isinstance(event, h11.Response):
            answer = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            is_complete = True
            break
    if answer is None:
        return None
    headers = {name.decode().lower(): value.decode() for name, value in answer.headers}
    is_stream = headers.get("content-type", "").startswith("text/event-stream")
    tokens, ended = _streamed(bytes(body)) if is_stream else _whole(bytes(body), answer.status_code)
    return Delivery(headers.get("x-jatevo-request-id", ""), answer.status_code, tokens, is_complete and ended)


def _streamed(body: bytes) -> tuple[tuple[str, ...], bool]:
    """The tokens, and whether the stream says that it is complete."""
    tokens, ended = [], False
    for event in body.split(b"\n\n")[:-1]:
        data = event.removeprefix(b"data: ")
        if data == b"[DONE]":
            ended = True
            continue
        for choice in json.loads(data).get("choices", []):
            if text := choice["delta"].get("content"):
                tokens.append(text)
    return tuple(tokens), ended


def _whole(body: bytes, status: int) -> tuple[tuple[str, ...], bool]:
    """The tokens of a body, also of one whose last byte is missing: all of its text is there."""
    for text in (body, body + b"}"):
        try:
            document = json.loads(text)
        except ValueError:
            continue
        if status != 200:
            return (), True
        content = document["choices"][0]["message"]["content"]
        return tuple(f" {word}" for word in content.split()), True
    return (), False
