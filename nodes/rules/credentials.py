"""Secrets of nodes, validators and gateways. Pure: the master key is passed in.

A node token is `whsec_` and the base64 of HMAC-SHA256(master key, kind:id:version). No secret is stored per
node, and a new version ends the old token. Enrolment tokens are random, and only their hash is stored.
"""

import hashlib
import hmac
import secrets


def derive_secret(master: bytes, kind: str, owner_id: str, version: int) -> bytes:
    """The 32-byte HMAC secret of a `node`, a `validator` or a `gateway`."""
    return hmac.digest(master, f"jatevo-token:{kind}:{owner_id}:{version}".encode(), "sha256")


def new_enrollment_token() -> str:
    """A fresh enrolment token of 256 random bits."""
    return "jve_" + secrets.token_urlsafe(32)


def enrollment_digest(token: str) -> bytes:
    """The stored hash of an enrolment token.

    A plain hash is enough, because the token has 256 random bits.
    """
    return hashlib.sha256(token.encode()).digest()
