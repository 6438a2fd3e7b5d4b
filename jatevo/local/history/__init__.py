"""Invented history for the demo fleet and for the large fleet of benchmarks.

Nodes, measurements and traffic are synthetic and derive from a seed. Everything is in the real form: receipts
are signed with their node's key and verify, and reputations are computed from the stored evidence.
"""
