"""The Merkle tree hash of RFC 6962, section 2.1, with SHA-256.

A statement prints the hash of a month's receipts. Anyone with the same receipts computes the same hash.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

_LEAF: Final = b"\x00"  # the prefixes prevent a leaf from being taken for an inner node
_NODE: Final = b"\x01"


def tree_hash(leaves: Iterable[bytes]) -> bytes:
    """The 32 bytes of the tree's root. Without leaves it is the SHA-256 of no bytes.

    Takes the leaves one at a time and stores one hash per level, so their number is not limited.
    """
    # hashes of complete subtrees from left to right, each with the number of its leaves, in falling order
    subtrees: list[tuple[int, bytes]] = []
    for leaf in leaves:
        subtrees.append((1, hashlib.sha256(_LEAF + leaf).digest()))
        while len(subtrees) > 1 and subtrees[-2][0] == subtrees[-1][0]:
            _join_last_two(subtrees)
    if not subtrees:
        return hashlib.sha256(b"").digest()
    while len(subtrees) > 1:
        _join_last_two(subtrees)
    return subtrees[0][1]


def receipt_leaf(node_id: str, request_id: str, sha256: bytes) -> bytes:
    """A receipt's leaf: `jatevo/receipt/v1 <node_id> <request_id> <hex SHA-256 of its bytes>`."""
    return f"jatevo/receipt/v1 {node_id} {request_id} {sha256.hex()}".encode()


def _join_last_two(subtrees: list[tuple[int, bytes]]) -> None:
    right_size, right = subtrees.pop()
    left_size, left = subtrees.pop()
    subtrees.append((left_size + right_size, hashlib.sha256(_NODE + left + right).digest()))
