"""A signature over another form than the canonical one is recognised, and over nothing else."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from nacl.signing import SigningKey

from jatevo.wire.canonical import canonical_bytes, canonicalize
from jatevo.wire.keys import signature_text
from receipts.refused.wrong_forms import SignedForm, signed_form

KEY = SigningKey(b"k" * 32)
OTHER = SigningKey(b"o" * 32)
KEYS = [bytes(OTHER.verify_key), bytes(KEY.verify_key)]
UNSIGNED: dict[str, Any] = {"version": "1.0", "model_id": "qwén", "tokens": 3, "p95_ms": 310.5}


def posted(statement: bytes, key: SigningKey = KEY, **options: Any) -> tuple[bytes, dict[str, Any]]:
    payload = {**UNSIGNED, "signature": signature_text(key.sign(statement).signature)}
    return json.dumps(payload, **options).encode(), payload


@pytest.mark.parametrize(
    ("form", "write"),
    [
        (SignedForm.POSTED_ORDER, lambda: json.dumps(UNSIGNED, separators=(",", ":"), ensure_ascii=False)),
        (SignedForm.POSTED_ORDER_SPACED, lambda: json.dumps(UNSIGNED)),
        (SignedForm.SORTED_SPACED, lambda: json.dumps(UNSIGNED, sort_keys=True)),
        (SignedForm.SORTED_ASCII, lambda: json.dumps(UNSIGNED, sort_keys=True, separators=(",", ":"))),
        (SignedForm.EMPTY_SIGNATURE, lambda: canonicalize({**UNSIGNED, "signature": ""}).decode()),
        (SignedForm.NULL_SIGNATURE, lambda: canonicalize({**UNSIGNED, "signature": None}).decode()),
    ],
)
def test_each_wrong_form_is_recognised(form: SignedForm, write: Callable[[], str]) -> None:
    raw, payload = posted(write().encode(), indent=1)
    assert signed_form(raw, payload, KEYS) is form


def test_a_signature_over_the_posted_bytes_is_recognised_whatever_they_look_like() -> None:
    statement = json.dumps(UNSIGNED, indent=3).encode()
    assert signed_form(*posted(statement, indent=3), KEYS) is SignedForm.AS_POSTED


def test_a_key_that_is_none_of_the_nodes_signs_no_form() -> None:
    raw, payload = posted(json.dumps(UNSIGNED).encode(), SigningKey(b"s" * 32))
    assert signed_form(raw, payload, KEYS) is None


@pytest.mark.parametrize("signature", ["", "ed25519:", None, 7])
def test_what_is_no_signature_signs_no_form(signature: object) -> None:
    payload = {**UNSIGNED, "signature": signature}
    assert signed_form(json.dumps(payload).encode(), payload, KEYS) is None


def test_the_right_form_is_none_of_the_wrong_ones() -> None:
    raw, payload = posted(canonical_bytes(UNSIGNED))
    assert signed_form(raw, payload, KEYS) is None
