"""The tree hash: the vectors of Certificate Transparency, and the RFC's own recursive definition."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jatevo.wire.merkle import receipt_leaf, tree_hash

# The leaves and roots by which the reference implementation of RFC 6962 tests its own trees.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize(("size", "root"), list(enumerate(ROOTS)))
def test_vectors_of_rfc_6962(size: int, root: str) -> None:
    assert tree_hash(LEAVES[:size]).hex() == root


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, word for word: split at the largest power of two below n."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:split]) + by_definition(leaves[split:])).digest()


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_any_number_of_leaves_follows_the_definition(leaves: list[bytes]) -> None:
    assert tree_hash(iter(leaves)) == by_definition(leaves)


def test_the_leaf_of_a_receipt_is_one_line_of_text() -> None:
    digest = hashlib.sha256(b"receipt").digest()
    assert receipt_leaf("mac-1", "r_1", digest) == f"jatevo/receipt/v1 mac-1 r_1 {digest.hex()}".encode()
