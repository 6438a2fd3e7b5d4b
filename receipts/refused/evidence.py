"""What the page of a refused receipt shows: what it says, who may have signed it, and where its bytes differ.

Signatures and forms are checked when the page is read, from the bytes that are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jatevo.web.strict_json import InvalidJson, parse
from jatevo.wire import signing
from jatevo.wire.canonical import SIGNATURE_MEMBER, NotCanonicalError, canonical_bytes, canonicalize
from jatevo.wire.keys import public_key_text
from nodes.models import NodeKey
from receipts.models import Receipt, ReceiptIdentity, RefusedReceipt
from receipts.refused.differences import ChangedMember, Difference, Side, changed_members, first_difference
from receipts.refused.tokens import without_signature
from receipts.refused.wrong_forms import SignedForm, signed_form
from receipts.viewer import Line, pretty

MOST_MEMBERS = 50


@dataclass(frozen=True)
class ShownSide:
    """A side of a difference as text: hexadecimal bytes, and the same as ASCII, where a dot stands for the others."""

    name: str
    byte: str  # such as "0x7B", or "end"
    hex_before: str
    hex: str
    hex_after: str
    ascii_before: str
    ascii: str
    ascii_after: str


@dataclass(frozen=True)
class Comparison:
    """Two texts side by side. `difference` is None if they are the same."""

    title: str
    hint: str
    difference: Difference | None
    sides: Sequence[ShownSide]
    changed: Sequence[ChangedMember] = ()
    more_changed: int = 0


@dataclass(frozen=True)
class TriedKey:
    """A key that the node has or had. `late`: it was added after the receipt was refused."""

    text: str
    valid_from: datetime
    valid_to: datetime | None
    verifies: bool
    late: bool


@dataclass(frozen=True)
class Evidence:
    """`problem` says why nothing can be compared: the bytes are not all there, or have no canonical form.

    `lines` are None if there are too many to show. `accepted` is the receipt that was accepted under the same identity, if the reader may see one.
    """

    lines: Sequence[Line] | None
    problem: str
    keys: Sequence[TriedKey]
    wrong_form: SignedForm | None
    comparisons: Sequence[Comparison]
    accepted: Receipt | None
    with_accepted: Comparison | None


def evidence_of(refused: RefusedReceipt, reader: object) -> Evidence:
    """Reads the evidence of a refused receipt that the reader may see."""
    raw = bytes(refused.raw)
    accepted = _accepted(refused, reader)
    payload, problem = _read(refused, raw)
    if problem:
        return Evidence(pretty(raw), problem, (), None, (), accepted, None)
    signed = payload if isinstance(payload, dict) and SIGNATURE_MEMBER in payload else None
    keys = _tried(refused, signed) if signed is not None else []
    wrong_form = None
    if signed is not None and not any(key.verifies for key in keys):
        wrong_form = signed_form(raw, signed, _public_keys(refused))
    return Evidence(
        lines=pretty(raw),
        problem="",
        keys=keys,
        wrong_form=wrong_form,
        comparisons=_with_canonical(raw, payload),
        accepted=accepted,
        with_accepted=_with_accepted(raw, payload, accepted)
        if accepted and isinstance(payload, dict)
        else None,
    )


def _read(refused: RefusedReceipt, raw: bytes) -> tuple[Any, str]:
    """The value of the receipt, or why it cannot be compared."""
    if not refused.is_whole:
        return (
            None,
            "Only the beginning of this receipt is kept, so its signature and form cannot be checked.",
        )
    try:
        payload = parse(raw)
        canonicalize(payload)
    except InvalidJson as error:
        return None, error.message
    except NotCanonicalError as error:
        return None, f"The receipt has no RFC 8785 form: {error}."
    return payload, ""


def _accepted(refused: RefusedReceipt, reader: object) -> Receipt | None:
    identity = ReceiptIdentity.objects.filter(node_id=refused.node_id, request_id=refused.request_id).first()
    if identity is None:
        return None
    found = Receipt.objects.visible_to(reader).filter(node_id=refused.node_id, request_id=refused.request_id)
    # the identity's time leads to the one partition that holds the receipt
    return found.filter(accepted_at=identity.accepted_at).first()


def _public_keys(refused: RefusedReceipt) -> list[bytes]:
    return [bytes(key.public_key) for key in NodeKey.objects.filter(node_id=refused.node_id)]


def _tried(refused: RefusedReceipt, payload: dict[str, Any]) -> list[TriedKey]:
    return [
        TriedKey(
            public_key_text(bytes(key.public_key)),
            key.valid_from,
            key.valid_to,
            signing.verify(payload, bytes(key.public_key)),
            key.valid_from > refused.received_at,
        )
        for key in NodeKey.objects.filter(node_id=refused.node_id)
    ]


def _with_canonical(raw: bytes, payload: Any) -> list[Comparison]:
    whole = _compare(
        "The whole receipt",
        "Receipts need not be posted in this form: it is the form that is signed",
        (raw, canonicalize(payload)),
        ("the posted receipt", "the canonical form"),
    )
    if not isinstance(payload, dict) or SIGNATURE_MEMBER not in payload:
        return [whole]
    signed = _compare(
        "What the signature covers",
        "The receipt without its signature",
        (without_signature(raw), canonical_bytes(payload)),
        ("the posted receipt", "the canonical form"),
    )
    return [whole, signed]


def _with_accepted(raw: bytes, payload: dict[str, Any], accepted: Receipt) -> Comparison:
    accepted_raw = bytes(accepted.raw)
    changed = changed_members(payload, parse(accepted_raw))
    return _compare(
        "The accepted receipt with this request ID",
        "",
        (raw, accepted_raw),
        ("the refused receipt", "the accepted receipt"),
        changed,
    )


def _compare(
    title: str,
    hint: str,
    texts: tuple[bytes, bytes],
    names: tuple[str, str],
    changed: Sequence[ChangedMember] = (),
) -> Comparison:
    difference = first_difference(*texts, names=names)
    sides = (
        [_shown(name, side) for name, side in zip(names, (difference.left, difference.right), strict=True)]
        if difference
        else []
    )
    return Comparison(
        title, hint, difference, sides, changed[:MOST_MEMBERS], max(0, len(changed) - MOST_MEMBERS)
    )


def _shown(name: str, side: Side) -> ShownSide:
    byte = b"" if side.byte is None else bytes([side.byte])
    return ShownSide(
        name=name.removeprefix("the ").capitalize(),
        byte=f"0x{byte.hex().upper()}" if byte else "end",
        hex_before=side.before.hex(" ").upper(),
        hex=byte.hex().upper(),
        hex_after=side.after.hex(" ").upper(),
        ascii_before=_ascii(side.before),
        ascii=_ascii(byte),
        ascii_after=_ascii(side.after),
    )


def _ascii(raw: bytes) -> str:
    """Spaces are shown, since they are often what differs."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in raw).replace(" ", "␣")
