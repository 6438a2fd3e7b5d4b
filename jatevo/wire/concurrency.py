"""How many requests a node serves at once, as stated at registration and in heartbeats."""

DEFAULT_CONCURRENCY = 4  # if the node does not state it
MAX_CONCURRENCY = 1024
