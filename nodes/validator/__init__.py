"""The reference validator: fetches assignments from the console, probes the nodes, and posts the results.

It uses only the HTTP contract and none of the console's code. See `python -m nodes.validator --help`.
"""
