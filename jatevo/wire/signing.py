"""Ed25519 signatures of receipts and of health answers, as text `ed25519:<base64>`.

The formats are those of the HTTP contract ("Receipts" and "Validators"). PyNaCl verifies, because
libsodium refuses small-order and non-canonical keys that other libraries let pass; keys of mixed order
are refused here.
"""

import base64
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from .canonical import SIGNATURE_MEMBER, NotCanonicalError, canonical_bytes

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

# The last digit before the padding carries 2 (of 32 bytes) or 4 (of 64) unused bits. They must be
# zero: otherwise one key would have several spellings.
_PUBLIC_KEY_TEXT = re.compile(r"ed25519:([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)")
_SIGNATURE_TEXT = re.compile(r"ed25519:([A-Za-z0-9+/]{85}[AQgw]==)")


class MalformedKeyError(ValueError):
    """The text is not `ed25519:` and the strict base64 of as many bytes as it must hold."""


def public_key_text(public_key: bytes) -> str:
    """Write 32 bytes of public key as `ed25519:<base64>`."""
    return _text(public_key, PUBLIC_KEY_BYTES)


def decode_public_key(text: str) -> bytes:
    """Return the 32 bytes of a public key's text; MalformedKeyError if it is not exactly that.

    This is about spelling only: whether the bytes are a point that can verify anything is not checked.
    """
    return _decode(text, _PUBLIC_KEY_TEXT, "a public key must be ed25519: and the base64 of 32 bytes")


def signature_text(signature: bytes) -> str:
    """Write 64 bytes of signature as `ed25519:<base64>`."""
    return _text(signature, SIGNATURE_BYTES)


def decode_signature(text: str) -> bytes:
    """Return the 64 bytes of a signature's text; MalformedKeyError if it is not exactly that."""
    return _decode(text, _SIGNATURE_TEXT, "a signature must be ed25519: and the base64 of 64 bytes")


def is_signature_text(text: str) -> bool:
    """Whether `text` spells 64 bytes as `ed25519:<base64>`, in the one spelling that they have."""
    return _SIGNATURE_TEXT.fullmatch(text) is not None


def sign(payload: Mapping[str, Any], signing_key: SigningKey) -> dict[str, Any]:
    """Return a copy of the receipt with its `signature` member, replacing one that it had.

    Raises NotCanonicalError if the receipt has no RFC 8785 form.
    """
    signature = signing_key.sign(canonical_bytes(payload)).signature
    return {**payload, SIGNATURE_MEMBER: signature_text(signature)}


def verify(payload: Mapping[str, Any], public_key: bytes) -> bool:
    """Whether the receipt's `signature` is that key's over the receipt. Never raises for bad input."""
    try:
        statement = canonical_bytes(payload)
    except NotCanonicalError:
        return False
    return verify_statement(statement, payload.get(SIGNATURE_MEMBER), public_key)


def health_statement(node_id: str, nonce: str) -> bytes:
    """The bytes that a node signs to answer a validator's nonce.

    They are no JSON object, so that no nonce can trick a node into signing a receipt.
    """
    return f"jatevo-health:{node_id}:{nonce}".encode()


def sign_health(node_id: str, nonce: str, signing_key: SigningKey) -> str:
    """Sign the health statement; the text for the answer's `signature` member."""
    return signature_text(signing_key.sign(health_statement(node_id, nonce)).signature)


def verify_health(node_id: str, nonce: str, signature: object, public_key: bytes) -> bool:
    """Whether `signature` is that key's over the health statement. Never raises for bad input."""
    try:
        statement = health_statement(node_id, nonce)
    except UnicodeEncodeError:
        return False
    return verify_statement(statement, signature, public_key)


def verify_statement(statement: bytes, signature: object, public_key: bytes) -> bool:
    """Whether `signature`, as text, is that key's over exactly these bytes. Never raises for bad input."""
    if not isinstance(signature, str):
        return False
    try:
        _verify_key(public_key).verify(statement, decode_signature(signature))
    except (BadSignatureError, MalformedKeyError):
        return False
    return True


@lru_cache(maxsize=4096)
def _verify_key(public_key: bytes) -> VerifyKey:
    """The key ready for use; ValueError unless it is a canonical point of the prime-order subgroup.

    libsodium's verification refuses small-order keys by itself but not those of mixed order, about
    which verifiers with and without the cofactor can disagree. A receipt is evidence for third
    parties, so it must verify everywhere or nowhere. No honest key generator makes such a key.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or not crypto_core_ed25519_is_valid_point(public_key):
        raise MalformedKeyError("not a point of the prime-order subgroup")
    return VerifyKey(public_key)


def _text(raw: bytes, expected_bytes: int) -> str:
    if len(raw) != expected_bytes:
        raise MalformedKeyError(f"expected {expected_bytes} bytes, got {len(raw)}")
    return "ed25519:" + base64.b64encode(raw).decode("ascii")


def _decode(text: str, pattern: re.Pattern[str], complaint: str) -> bytes:
    match = pattern.fullmatch(text)
    if match is None:
        raise MalformedKeyError(complaint)
    return base64.b64decode(match[1])
