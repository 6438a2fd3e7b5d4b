"""Wallet addresses: which are accepted, in what form they are kept, and what is wrong with the others. Pure.

Solana: base58 in Bitcoin's alphabet, of exactly 32 bytes. EVM: 0x and 40 hex digits. In mixed case these carry a
checksum (EIP-55), which must match. All in lower or all in upper case they carry none and are accepted.
"""

import re
import unicodedata
from enum import StrEnum

from Crypto.Hash import keccak

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUES = {character: value for value, character in enumerate(_BASE58)}
_LOOK_ALIKES = {"0": "zero", "O": "capital letter O", "I": "capital letter I", "l": "small letter L"}
_SOLANA_BYTES = 32
_SOLANA_CHARACTERS = (32, 44)  # of 32 bytes, with and without leading zeros
# Well-formed addresses whose keys nobody has, in canonical text.
_NOBODYS = {
    "1" * 32: "Solana's system program",
    "1nc1nerator11111111111111111111111111111111": "Solana's incinerator",
    "0x" + "0" * 40: "the zero address",
    "0x000000000000000000000000000000000000dEaD": "an address that is used to destroy tokens",
}
_EVM_DIGITS = 40
_HEX = re.compile(r"[0-9a-fA-F]*", re.ASCII)
_EVM_LIKE = re.compile(r"0[xX][0-9a-fA-F]{40}", re.ASCII)
_NAME = re.compile(r"[^\s.]+(\.[^\s.]+)*\.(eth|sol|crypto|xyz|bnb|base)", re.IGNORECASE)
_LONGEST = 200  # what is longer is no address, and is not worth a closer look


class WalletChain(StrEnum):
    """The chains on which payouts are made."""

    SOLANA = "solana"
    EVM = "evm"


class BadAddress(ValueError):
    """The text is not an address of the chain. `message` says what is wrong, for the person who entered it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def check_address(chain: str, text: str) -> str:
    """The canonical text of an address: as given for Solana, with the checksum of EIP-55 for EVM.

    Raises `BadAddress` if it is none, or if nobody holds its key; `ValueError` for an unknown chain.
    """
    known = WalletChain(chain)
    _check_text(text)
    canonical = _check_solana(text) if known is WalletChain.SOLANA else _check_evm(text)
    if owner := _NOBODYS.get(canonical):
        raise BadAddress(f"This is {owner}. What is sent to it is lost.")
    return canonical


def _check_text(text: str) -> None:
    """What can be wrong whatever the chain."""
    if not text:
        raise BadAddress("Enter an address.")
    if text != text.strip():
        raise BadAddress("The address begins or ends with white space. Remove it.")
    if len(text) > _LONGEST:
        raise BadAddress(f"An address is never longer than {_LONGEST} characters.")
    if text.isascii() and _NAME.fullmatch(text):
        raise BadAddress(
            f"{text} is a name, and names can change hands. Enter the address that it stands for."
        )
    for number, character in enumerate(text, start=1):
        if character.isascii() and character.isprintable() and character != " ":
            continue
        raise BadAddress(f"Character {number} is {_describe(character)}, which no address has.")


def _describe(character: str) -> str:
    """A character that may be invisible or look like another, in words."""
    if character.isspace():
        return "white space"
    name = unicodedata.name(character, f"U+{ord(character):04X}").lower()
    return f"“{character}” ({name})" if character.isprintable() else f"invisible ({name})"


def _check_solana(text: str) -> str:
    if _EVM_LIKE.fullmatch(text):
        raise BadAddress("This is an EVM address. Choose EVM as the chain, or enter a Solana address.")
    for number, character in enumerate(text, start=1):
        if character in _LOOK_ALIKES:
            raise BadAddress(
                f"Character {number} is “{character}” ({_LOOK_ALIKES[character]}), which Solana addresses never have,"
                " because it looks like another character. Copy the address instead of typing it."
            )
        if character not in _BASE58_VALUES:
            raise BadAddress(f"Character {number} is “{character}”, which Solana addresses never have.")
    low, high = _SOLANA_CHARACTERS
    length = len(_decode_base58(text)) if len(text) <= 2 * high else None
    if length != _SOLANA_BYTES:
        stands_for = f", which is {length} bytes" if length is not None and low <= len(text) <= high else ""
        raise BadAddress(
            f"A Solana address is {low} to {high} characters that stand for 32 bytes. This one has {len(text)}"
            f" {'character' if len(text) == 1 else 'characters'}{stands_for}. Check that it is complete."
        )
    return text


def _decode_base58(text: str) -> bytes:
    """The bytes of base58 text. Each leading 1 is a zero byte."""
    number = 0
    for character in text:
        number = number * 58 + _BASE58_VALUES[character]
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _check_evm(text: str) -> str:
    if text[:2] not in ("0x", "0X"):
        if _EVM_LIKE.fullmatch(f"0x{text}"):
            raise BadAddress("An EVM address begins with 0x. Put 0x before it.")
        if (
            all(character in _BASE58_VALUES for character in text)
            and len(_decode_base58(text)) == _SOLANA_BYTES
        ):
            raise BadAddress("This is a Solana address. Choose Solana as the chain, or enter an EVM address.")
        raise BadAddress("An EVM address begins with 0x, followed by 40 hex digits.")
    digits = text[2:]
    fine = _HEX.match(digits)
    good = fine.end() if fine else 0
    if good < len(digits):
        raise BadAddress(
            f"Character {good + 3} is “{digits[good]}”, and only 0 to 9 and a to f may follow the 0x."
        )
    if len(digits) != _EVM_DIGITS:
        raise BadAddress(
            f"An EVM address has 40 hex digits after the 0x. This one has {len(digits)}. Check that it is complete."
        )
    canonical = _with_checksum(digits.lower())
    if digits not in (digits.lower(), digits.upper(), canonical[2:]):
        raise BadAddress(
            "The capital letters of the address do not match its checksum, so at least one character is wrong."
            " Copy it again from your wallet."
        )
    return canonical


def _with_checksum(digits: str) -> str:
    """EIP-55: a letter is a capital where the hex digit of the Keccak-256 of the text at its place is 8 or more."""
    digest = keccak.new(data=digits.encode("ascii"), digest_bits=256).hexdigest()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) >= 8 else digit for digit, mark in zip(digits, digest, strict=False)
    )
