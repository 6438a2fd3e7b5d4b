"""Invented history: of the demo fleet, and of the large one that benchmarks load.

Nodes, measurements and traffic are drawn from a seed and never happened. What is real is the form: receipts are
signed with their node's key and verify, and reputations follow from the stored evidence.
"""
