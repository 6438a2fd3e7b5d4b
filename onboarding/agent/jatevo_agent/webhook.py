"""Standard Webhooks signatures of requests to the console (https://www.standardwebhooks.com, "v1").

`webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`. The secret is
the node token: `whsec_` and the base64 of the HMAC key.
"""

import base64
import binascii
import hashlib
import hmac
import secrets

_PREFIX = "whsec_"


class MalformedTokenError(ValueError):
    """The node token is not `whsec_` and base64."""


def secret_of(node_token: str) -> bytes:
    """Return the HMAC key that a node token spells; MalformedTokenError otherwise."""
    if not node_token.startswith(_PREFIX):
        raise MalformedTokenError(f"a node token starts with {_PREFIX}")
    try:
        secret = base64.b64decode(node_token.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedTokenError(f"a node token is {_PREFIX} and base64") from error
    if not secret:
        raise MalformedTokenError("the node token is empty")
    return secret


def new_message_id() -> str:
    """A `webhook-id` that no request had before; every attempt needs its own."""
    return "msg_" + secrets.token_urlsafe(18)


def sign_request(secret: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers for one request; `timestamp` in unix seconds."""
    signed = b"%s.%d.%s" % (message_id.encode("ascii"), timestamp, body)
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": "v1," + base64.b64encode(digest).decode("ascii"),
    }
