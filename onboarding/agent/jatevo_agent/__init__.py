"""The reference agent of the Jatevo network. It registers a node, sends heartbeats and signs receipts."""

__version__ = "1.1.0"
