"""Secrets of nodes and validators. Pure but for the master key, which is passed in.

A node token is `whsec_` and the base64 of HMAC-SHA256(master key, kind:id:version): nothing is stored
per node, and a new version ends the old token. Enrolment tokens are random, and only their hash is stored.
"""

import hashlib
import hmac
import secrets


def derive_secret(master: bytes, kind: str, owner_id: str, version: int) -> bytes:
    """The 32-byte HMAC secret of a `node` or a `validator`."""
    return hmac.digest(master, f"jatevo-token:{kind}:{owner_id}:{version}".encode(), "sha256")


def new_enrollment_token() -> str:
    """A fresh enrolment token of 256 random bits."""
    return "jve_" + secrets.token_urlsafe(32)


def enrollment_digest(token: str) -> bytes:
    """What is stored of an enrolment token. It has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()
