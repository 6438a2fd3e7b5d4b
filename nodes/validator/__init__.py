"""The reference validator: finds nodes that the console wants checked, probes them, posts what it measured.

It speaks HTTP only and knows nothing of the console's insides: `python -m nodes.validator --help`.
"""
