"""Notices that this process shows on every page: of demo data, for example."""

_shown: list[str] = []


def show(text: str) -> None:
    """Shows it from now on, on every page, to everybody."""
    if text not in _shown:
        _shown.append(text)


def shown() -> tuple[str, ...]:
    """All notices, in the order in which they came."""
    return tuple(_shown)


def clear() -> None:
    """Takes all of them back."""
    _shown.clear()
