"""Secrets and keys of nodes and validators. Pure but for the master key, which is passed in.

A node token is `whsec_` and the base64 of HMAC-SHA256(master key, kind:id:version): nothing is stored
per node, and a new version ends the old token. Enrolment tokens are random, and only their hash is stored.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets

from nacl.bindings import crypto_core_ed25519_is_valid_point

_KEY_TEXT = re.compile(r"ed25519:([A-Za-z0-9+/]{43}=)")


class BadPublicKey(ValueError):
    """The text is no public key that we accept; the message says why."""


def derive_secret(master: bytes, kind: str, owner_id: str, version: int) -> bytes:
    """The 32-byte HMAC secret of a `node` or a `validator`."""
    return hmac.digest(master, f"jatevo-token:{kind}:{owner_id}:{version}".encode(), "sha256")


def token_text(secret: bytes) -> str:
    """The secret as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(secret).decode()


def new_enrollment_token() -> str:
    """A fresh enrolment token of 256 random bits."""
    return "jve_" + secrets.token_urlsafe(32)


def enrollment_digest(token: str) -> bytes:
    """What is stored of an enrolment token. It has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


def parse_public_key(text: str) -> bytes:
    """The 32 bytes of `ed25519:<base64>`.

    Raises BadPublicKey for anything that is not exactly that spelling of a canonical point in the
    prime-order subgroup: a small-order key would let one signature fit many messages, and a second
    spelling of one key would look like a second key.
    """
    match = _KEY_TEXT.fullmatch(text)
    if match is None:
        raise BadPublicKey("must be ed25519: and the base64 of 32 bytes")
    try:
        raw = base64.b64decode(match[1], validate=True)
    except binascii.Error as error:
        raise BadPublicKey("must be ed25519: and the base64 of 32 bytes") from error
    if base64.b64encode(raw).decode() != match[1]:
        raise BadPublicKey("the base64 is not canonical")
    if not crypto_core_ed25519_is_valid_point(raw):
        raise BadPublicKey("not a canonical ed25519 point of the prime-order subgroup")
    return raw


def public_key_text(raw: bytes) -> str:
    """32 bytes as `ed25519:<base64>`."""
    return "ed25519:" + base64.b64encode(raw).decode()
