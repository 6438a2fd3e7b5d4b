"""Over which other form a key of the node signed a receipt whose signature does not verify. Pure.

The signature covers the canonical form (RFC 8785). An honest agent that is broken often signs what its JSON library
writes instead. A signature that verifies over such a form is no third party's.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from jatevo.wire import signing
from jatevo.wire.canonical import SIGNATURE_MEMBER, canonicalize
from receipts.refused.tokens import without_signature


class SignedForm(StrEnum):
    """A form other than the canonical one over which agents are known to sign by mistake, in words."""

    AS_POSTED = "the posted bytes without the signature"
    POSTED_ORDER = "compact JSON in the posted order of members"
    POSTED_ORDER_SPACED = "JSON in the posted order of members, with a space after each comma and colon"
    SORTED_SPACED = "JSON with sorted members, with a space after each comma and colon"
    SORTED_ASCII = "compact JSON with sorted members, with characters beyond ASCII written as escapes"
    EMPTY_SIGNATURE = "the canonical form with an empty signature"
    NULL_SIGNATURE = "the canonical form with the signature null"


def signed_form(raw: bytes, payload: Mapping[str, Any], public_keys: Sequence[bytes]) -> SignedForm | None:
    """Over which wrong form one of the keys signed the receipt. None if over none of those that are tried.

    `payload` is what `raw` says. Raises NotCanonicalError if it has no canonical form.
    """
    signature = payload.get(SIGNATURE_MEMBER)
    return next(
        (
            form
            for form, statement in _wrong_forms(raw, payload)
            if any(signing.verify_statement(statement, signature, key) for key in public_keys)
        ),
        None,
    )


def _wrong_forms(raw: bytes, payload: Mapping[str, Any]) -> Iterator[tuple[SignedForm, bytes]]:
    unsigned = {name: value for name, value in payload.items() if name != SIGNATURE_MEMBER}
    yield SignedForm.AS_POSTED, without_signature(raw)
    yield SignedForm.POSTED_ORDER, _dumped(unsigned, separators=(",", ":"), ensure_ascii=False)
    yield SignedForm.POSTED_ORDER_SPACED, _dumped(unsigned)
    yield SignedForm.SORTED_SPACED, _dumped(unsigned, sort_keys=True)
    yield SignedForm.SORTED_ASCII, _dumped(unsigned, sort_keys=True, separators=(",", ":"))
    yield SignedForm.EMPTY_SIGNATURE, canonicalize({**unsigned, SIGNATURE_MEMBER: ""})
    yield SignedForm.NULL_SIGNATURE, canonicalize({**unsigned, SIGNATURE_MEMBER: None})


def _dumped(value: object, **options: Any) -> bytes:
    return json.dumps(value, **options).encode()
