"""The program by which anybody recomputes a statement's root hash from the exported receipts. It is printed in it."""

from typing import Final

PROGRAM: Final = """\
import csv, hashlib, sys

def tree(leaves):
    if len(leaves) < 2:
        return hashlib.sha256(b"\\0" + leaves[0] if leaves else b"").digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\\1" + tree(leaves[:k]) + tree(leaves[k:])).digest()

rows = csv.DictReader(open(sys.argv[1], encoding="utf-8-sig", newline=""))
lines = ["jatevo/receipt/v1 {node_id} {request_id} {sha256}".format_map(row) for row in rows]
print(tree(sorted(line.encode() for line in lines)).hex())
"""
