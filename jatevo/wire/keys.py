"""Ed25519 keys and signatures as text: `ed25519:<base64>`. Each has exactly one spelling.

Signatures are verified with PyNaCl, because libsodium refuses small-order and non-canonical keys that
other libraries accept. Keys of mixed order are refused here.
"""

import base64
import re
from functools import lru_cache

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.signing import VerifyKey

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

# The last digit before the padding has 2 (for 32 bytes) or 4 (for 64 bytes) unused bits. They must be
# zero. Otherwise one key would have several spellings.
_PUBLIC_KEY_TEXT = re.compile(r"ed25519:([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)")
_SIGNATURE_TEXT = re.compile(r"ed25519:([A-Za-z0-9+/]{85}[AQgw]==)")


class MalformedKeyError(ValueError):
    """The text or the bytes are not an acceptable key or signature. The message says why."""


def public_key_text(public_key: bytes) -> str:
    """Write a public key of 32 bytes as `ed25519:<base64>`."""
    return _text(public_key, PUBLIC_KEY_BYTES)


def decode_public_key(text: str) -> bytes:
    """Return the 32 bytes that a public key's text spells. Raises MalformedKeyError if it spells none.

    Only the spelling is checked. `parse_public_key` also checks the bytes.
    """
    return _decode(text, _PUBLIC_KEY_TEXT, "must be ed25519: and the base64 of 32 bytes")


def parse_public_key(text: str) -> bytes:
    """Return the 32 bytes of a public key that can verify signatures. Raises MalformedKeyError."""
    public_key = decode_public_key(text)
    verify_key(public_key)
    return public_key


def signature_text(signature: bytes) -> str:
    """Write a signature of 64 bytes as `ed25519:<base64>`."""
    return _text(signature, SIGNATURE_BYTES)


def decode_signature(text: str) -> bytes:
    """Return the 64 bytes that a signature's text spells. Raises MalformedKeyError if it spells none."""
    return _decode(text, _SIGNATURE_TEXT, "must be ed25519: and the base64 of 64 bytes")


def is_signature_text(text: str) -> bool:
    """Whether `text` is the spelling of 64 bytes as `ed25519:<base64>`."""
    return _SIGNATURE_TEXT.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def verify_key(public_key: bytes) -> VerifyKey:
    """The key, ready to verify signatures. Raises MalformedKeyError unless its order is prime.

    It must be a canonical point of the prime-order subgroup. libsodium refuses small-order keys itself,
    but not keys of mixed order, on which verifiers with and without the cofactor can disagree. A receipt
    is evidence for third parties, so all of them must come to the same result. No honest key generator
    makes such a key.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or not crypto_core_ed25519_is_valid_point(public_key):
        raise MalformedKeyError("is not a canonical ed25519 point of the prime-order subgroup")
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
