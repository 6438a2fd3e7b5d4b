"""How many requests a node serves at once, as it says at registration and in heartbeats."""

DEFAULT_CONCURRENCY = 4  # of a node that does not say
MAX_CONCURRENCY = 1024
