"""Python's garbage collector, and what a process loads before its first request."""

import gc


def freeze_what_is_loaded() -> None:
    """Takes what exists now out of later collections (gc.freeze), for a process whose application is complete.

    A full collection of Django and this console takes some 80 ms, in which no thread runs. What is loaded is needed until
    the end anyway.
    """
    gc.collect()
    gc.freeze()
