"""Notices that this process shows on every page, for example about demo data."""

_shown: list[str] = []


def show(text: str) -> None:
    """Adds a notice to every page, for everyone."""
    if text not in _shown:
        _shown.append(text)


def shown() -> tuple[str, ...]:
    """All notices, in the order in which they were added."""
    return tuple(_shown)


def clear() -> None:
    """Removes all notices."""
    _shown.clear()
