"""Parts of SQL, put together."""


def joined(*parts: str) -> str:
    """Constant parts of SQL, as one statement; values go through parameters."""
    return " ".join(parts)
