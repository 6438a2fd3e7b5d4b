"""A large invented fleet with its history, for benchmarks and for looking at full pages: `python -m bench.load`.

What is synthetic: everything. Nodes, measurements and incidents are drawn from a seed and never happened. What
is real: the forms. Receipts are signed with their node's key and verify, reputations follow from the stored
evidence by nodes/reputation/formula.py, standings and the last hours from the metrics store by the worker's own code.
"""
