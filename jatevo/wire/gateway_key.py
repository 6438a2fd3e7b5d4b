"""The bearer key with which the network's gateways ask a node for completions.

The agent and the console both derive it from the node token, so it is stored nowhere, and a new node token
ends it. It tells nothing about the token.
"""

import base64
import hashlib
import hmac

KEY_PREFIX = "jvg_"
_PURPOSE = b"jatevo-gateway-key"


def gateway_key(secret: bytes) -> str:
    """Return the key of the node whose token contains `secret` (see `webhook.secret_of`)."""
    digest = hmac.new(secret, _PURPOSE, hashlib.sha256).digest()
    return KEY_PREFIX + base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
