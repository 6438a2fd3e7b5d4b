"""Secrets of nodes, validators and gateways. Pure: the master key is passed in.

A node token is `whsec_` and the base64 of HMAC-SHA256(master key, kind:id:version). No secret is stored per
node, and a new version ends the old token. Enrolment tokens and install codes are random, and only their
hashes are stored. The enrolment token of an install code is derived from the code, so that the console can write it
into `agent.yaml` for whoever has the code.
"""

import base64
import hashlib
import hmac
import secrets


def derive_secret(master: bytes, kind: str, owner_id: str, version: int) -> bytes:
    """The 32-byte HMAC secret of a `node`, a `validator` or a `gateway`."""
    return hmac.digest(master, f"jatevo-token:{kind}:{owner_id}:{version}".encode(), "sha256")


def new_enrollment_token() -> str:
    """A fresh enrolment token of 256 random bits."""
    return "jve_" + secrets.token_urlsafe(32)


def new_install_code() -> str:
    """A fresh install code of 120 random bits. It travels in a URL."""
    return "jvi_" + secrets.token_urlsafe(15)


def token_of_install_code(master: bytes, code: str) -> str:
    """The enrolment token that belongs to an install code. The code cannot be found from the token."""
    digest = hmac.digest(master, f"jatevo-enrolment:{code}".encode(), "sha256")
    return "jve_" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def enrollment_digest(token: str) -> bytes:
    """The stored hash of an enrolment token or an install code.

    A plain hash is enough, because they have at least 120 random bits.
    """
    return hashlib.sha256(token.encode()).digest()
