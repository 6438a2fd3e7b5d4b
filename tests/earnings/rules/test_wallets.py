"""Wallet addresses: EIP-55's own vectors, known Solana addresses, and a helpful sentence for everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnings.rules.wallets import BadAddress, check_address

# https://eips.ethereum.org/EIPS/eip-55, "Test Cases"
EIP_55 = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]
# Well known: the token program, USDC, wrapped SOL, a sysvar, the memo program.
SOLANA = [
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    "So11111111111111111111111111111111111111112",
    "SysvarC1ock11111111111111111111111111111111",
    "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr",
]
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def complaint(chain: str, text: str) -> str:
    with pytest.raises(BadAddress) as refused:
        check_address(chain, text)
    return refused.value.message


def base58(data: bytes) -> str:
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


@pytest.mark.parametrize("address", EIP_55)
def test_eip_55_vectors_are_accepted_in_every_spelling_and_kept_in_one(address: str) -> None:
    digits = address[2:]
    for spelling in (address, f"0x{digits.lower()}", f"0x{digits.upper()}", f"0X{digits}"):
        assert check_address("evm", spelling) == address


@pytest.mark.parametrize("address", EIP_55[4:])
def test_a_wrong_capital_or_digit_is_caught(address: str) -> None:
    letter = next(i for i, character in enumerate(address) if i > 1 and character.isalpha())
    swapped = address[:letter] + address[letter].swapcase() + address[letter + 1 :]
    assert "do not match its checksum" in complaint("evm", swapped)
    digit = next(i for i, character in enumerate(address) if i > 1 and character.isdigit())
    other = "1" if address[digit] != "1" else "2"
    assert "do not match its checksum" in complaint("evm", address[:digit] + other + address[digit + 1 :])


@pytest.mark.parametrize("address", SOLANA)
def test_known_solana_addresses_are_kept_as_they_are(address: str) -> None:
    assert check_address("solana", address) == address


@given(st.binary(min_size=32, max_size=32).filter(any))
def test_every_32_bytes_are_a_solana_address(data: bytes) -> None:
    assert check_address("solana", base58(data)) == base58(data)


@given(st.binary(max_size=50).filter(lambda data: len(data) != 32))
def test_no_other_number_of_bytes_is(data: bytes) -> None:
    with pytest.raises(BadAddress):
        check_address("solana", base58(data))


@given(st.text(max_size=60), st.sampled_from(["solana", "evm"]))
def test_any_text_is_an_address_or_gets_a_sentence(text: str, chain: str) -> None:
    try:
        assert check_address(chain, text).isascii()
    except BadAddress as refused:
        assert refused.message.endswith(".")


@pytest.mark.parametrize(
    ("chain", "text", "says"),
    [
        ("solana", "", "Enter an address."),
        ("solana", SOLANA[0] + " ", "The address begins or ends with white space. Remove it."),
        ("evm", "\n" + EIP_55[0], "The address begins or ends with white space. Remove it."),
        (
            "solana",
            SOLANA[0] + "\u200b",
            "Character 44 is invisible (zero width space), which no address has.",
        ),
        ("solana", "Token egQfeZyi", "Character 6 is white space, which no address has."),
        ("solana", "Token\u00a0egQfeZyi", "Character 6 is white space, which no address has."),
        (
            "evm",
            "0x\uff11" + "1" * 39,
            "Character 3 is “\uff11” (fullwidth digit one), which no address has.",
        ),
        ("solana", "\u0430" * 32, "Character 1 is “\u0430” (cyrillic small letter a), which no address has."),
        (
            "solana",
            "alice.sol",
            "alice.sol is a name, and names can change hands. Enter the address that it stands for.",
        ),
        ("evm", "pay.foo.eth", "pay.foo.eth is a name"),
        ("solana", "0" + SOLANA[0][1:], "Character 1 is “0” (zero), which Solana addresses never have"),
        ("solana", "TO" + SOLANA[0][2:], "Character 2 is “O” (capital letter O)"),
        ("solana", "TI" + SOLANA[0][2:], "Character 2 is “I” (capital letter I)"),
        ("solana", "Tl" + SOLANA[0][2:], "Character 2 is “l” (small letter L)"),
        ("solana", "T-" + SOLANA[0][2:], "Character 2 is “-”, which Solana addresses never have."),
        (
            "solana",
            SOLANA[0][:-1],
            "A Solana address is 32 to 44 characters that stand for 32 bytes. This one has 42",
        ),
        ("solana", "1" * 31, "This one has 31 characters. Check that it is complete."),
        ("solana", "1" * 33, "This one has 33 characters, which is 33 bytes. Check that it is complete."),
        ("solana", "z" * 44, "This one has 44 characters, which is 33 bytes."),
        ("solana", "2", "This one has 1 character. "),
        ("solana", "z" * 200, "This one has 200 characters."),
        ("solana", "z" * 201, "An address is never longer than 200 characters."),
        ("solana", EIP_55[0], "This is an EVM address. Choose EVM as the chain, or enter a Solana address."),
        ("solana", "1" * 32, "This is Solana's system program. What is sent to it is lost."),
        ("solana", "1nc1nerator11111111111111111111111111111111", "This is Solana's incinerator."),
        ("evm", SOLANA[1], "This is a Solana address. Choose Solana as the chain, or enter an EVM address."),
        ("evm", EIP_55[0][2:], "An EVM address begins with 0x. Put 0x before it."),
        ("evm", "hello", "An EVM address begins with 0x, followed by 40 hex digits."),
        ("evm", "0x", "This one has 0."),
        ("evm", EIP_55[0][:-1], "An EVM address has 40 hex digits after the 0x. This one has 39."),
        ("evm", EIP_55[0] + "0", "This one has 41."),
        ("evm", "0x5g" + "1" * 38, "Character 4 is “g”, and only 0 to 9 and a to f may follow the 0x."),
        ("evm", "0x" + "0" * 40, "This is the zero address. What is sent to it is lost."),
        (
            "evm",
            "0x000000000000000000000000000000000000dead",
            "This is an address that is used to destroy tokens.",
        ),
    ],
)
def test_what_is_wrong_is_said(chain: str, text: str, says: str) -> None:
    assert says in complaint(chain, text)


def test_an_unknown_chain_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="bitcoin"):
        check_address("bitcoin", SOLANA[0])
