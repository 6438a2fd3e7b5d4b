"""The reference agent of the Jatevo network. It registers a node, sends heartbeats and signs receipts."""

__version__ = "2.0.0"
