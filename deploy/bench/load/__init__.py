"""A large invented fleet with its history, for benchmarks and for looking at full pages: `python -m bench.load`.

All nodes, measurements and incidents are synthetic and derive from a seed. Everything is in the real form:
receipts are signed with their node's key and verify, reputations are computed from the stored evidence by
nodes/reputation/formula.py, and the worker's code computes standings and the last hours from the metrics store.
"""
