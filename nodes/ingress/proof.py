"""What a node signs to change its own key."""

import base64
import binascii

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey


def key_statement_signed(node_id: str, new_key_text: str, signature_text: str, current_key: bytes) -> bool:
    """Whether `ed25519:<base64>` is the current key's signature over `jatevo-key:{node_id}:{new key}`."""
    scheme, _, encoded = signature_text.partition(":")
    if scheme != "ed25519":
        return False
    try:
        signature = base64.b64decode(encoded, validate=True)
        VerifyKey(current_key).verify(f"jatevo-key:{node_id}:{new_key_text}".encode(), signature)
    except (binascii.Error, ValueError, BadSignatureError):
        return False
    return True
