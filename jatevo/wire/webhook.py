"""Requests of agents and validators are signed as in Standard Webhooks (standardwebhooks.com, "v1").

`webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`. The secret is
the sender's token: `whsec_` and the base64 of the HMAC key.
"""

import base64
import binascii
import hashlib
import hmac
import secrets

TOKEN_PREFIX = "whsec_"  # noqa: S105 - only the prefix
SIGNATURE_VERSION = "v1,"


class MalformedTokenError(ValueError):
    """The token is not `whsec_` and base64. The message says what is wrong and does not contain the token."""


def token_text(secret: bytes) -> str:
    """Write an HMAC key as Standard Webhooks does."""
    return TOKEN_PREFIX + base64.b64encode(secret).decode("ascii")


def secret_of(token: str) -> bytes:
    """Return the HMAC key that a token contains. Raises MalformedTokenError."""
    if not token.startswith(TOKEN_PREFIX):
        raise MalformedTokenError(f"the token does not begin with {TOKEN_PREFIX}")
    try:
        secret = base64.b64decode(token.removeprefix(TOKEN_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedTokenError(f"the token is not {TOKEN_PREFIX} and base64") from error
    if not secret:
        raise MalformedTokenError("the token is empty")
    return secret


def new_message_id() -> str:
    """A new, unique `webhook-id`."""
    return "msg_" + secrets.token_urlsafe(18)


def sign_request(secret: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers for one request. `timestamp` is in unix seconds."""
    digest = request_digest(secret, message_id, str(timestamp), body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": SIGNATURE_VERSION + base64.b64encode(digest).decode("ascii"),
    }


def request_digest(secret: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    """The HMAC of a request with this `webhook-id` and `webhook-timestamp`."""
    return hmac.digest(secret, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)


def digests_of(header: str, *, most: int = 8) -> list[bytes]:
    """The v1 digests of a `webhook-signature`, which may list several, separated by spaces."""
    found = []
    for part in header.split(" ")[:most]:
        if part.startswith(SIGNATURE_VERSION):
            try:
                found.append(base64.b64decode(part.removeprefix(SIGNATURE_VERSION), validate=True))
            except (binascii.Error, ValueError):
                continue
    return found
