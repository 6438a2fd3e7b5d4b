"""Reference agent of the Jatevo network: registers a node, keeps it alive, signs a receipt per request."""

__version__ = "1.1.0"
