"""Ed25519 signatures of receipts, health answers and changes of key.

The formats are those of the HTTP contract ("Receipts", "Validators", "Enrolment and registration").
"""

from collections.abc import Mapping
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from .canonical import SIGNATURE_MEMBER, NotCanonicalError, canonical_bytes
from .keys import MalformedKeyError, decode_signature, signature_text, verify_key


def sign(payload: Mapping[str, Any], signing_key: SigningKey) -> dict[str, Any]:
    """Return a copy of the receipt with a `signature` member, which replaces an existing one.

    Raises NotCanonicalError if the receipt has no RFC 8785 form.
    """
    return {**payload, SIGNATURE_MEMBER: _sign_statement(canonical_bytes(payload), signing_key)}


def verify(payload: Mapping[str, Any], public_key: bytes) -> bool:
    """Whether `signature` was made with that key over the receipt. Never raises for bad input."""
    try:
        statement = canonical_bytes(payload)
    except NotCanonicalError:
        return False
    return verify_statement(statement, payload.get(SIGNATURE_MEMBER), public_key)


def health_statement(node_id: str, nonce: str) -> bytes:
    """The bytes that a node signs to answer a validator's nonce.

    They are not a JSON object, so no nonce can trick a node into signing a receipt.
    """
    return f"jatevo-health:{node_id}:{nonce}".encode()


def sign_health(node_id: str, nonce: str, signing_key: SigningKey) -> str:
    """Sign the health statement. Returns the answer's `signature` member as text."""
    return _sign_statement(health_statement(node_id, nonce), signing_key)


def verify_health(node_id: str, nonce: str, signature: object, public_key: bytes) -> bool:
    """Whether `signature` was made with that key over the health statement. Never raises for bad input."""
    try:
        statement = health_statement(node_id, nonce)
    except UnicodeEncodeError:
        return False
    return verify_statement(statement, signature, public_key)


def key_statement(node_id: str, new_key_text: str) -> bytes:
    """The bytes that a node signs with its current key to request a new one."""
    return f"jatevo-key:{node_id}:{new_key_text}".encode()


def sign_key(node_id: str, new_key_text: str, signing_key: SigningKey) -> str:
    """Sign the statement of a new key. Returns the request's `signature` member as text."""
    return _sign_statement(key_statement(node_id, new_key_text), signing_key)


def verify_key_change(node_id: str, new_key_text: str, signature: object, current_key: bytes) -> bool:
    """Whether `signature` was made with the current key over the new one. Never raises for bad input."""
    try:
        statement = key_statement(node_id, new_key_text)
    except UnicodeEncodeError:
        return False
    return verify_statement(statement, signature, current_key)


def verify_statement(statement: bytes, signature: object, public_key: bytes) -> bool:
    """Whether `signature`, as text, was made with that key over these bytes. Never raises for bad input."""
    if not isinstance(signature, str):
        return False
    try:
        verify_key(public_key).verify(statement, decode_signature(signature))
    except (BadSignatureError, MalformedKeyError):
        return False
    return True


def _sign_statement(statement: bytes, signing_key: SigningKey) -> str:
    return signature_text(signing_key.sign(statement).signature)
