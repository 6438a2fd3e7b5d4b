"""The reference agent as a wheel, built from this checkout, for the install script, for pip and for updates."""

import hashlib
import os
import tempfile
import threading
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

SOURCE = Path(__file__).resolve().parent / "agent"
_building = threading.Lock()


@dataclass(frozen=True)
class Wheel:
    """The wheel's file name and bytes, with their SHA-256 in hex, and what its metadata say."""

    name: str
    version: str
    requires_python: str
    content: bytes
    sha256: str

    @property
    def least_python(self) -> str:
        """The oldest Python that runs it, such as 3.9."""
        return self.requires_python.removeprefix(">=").partition(",")[0].strip()


def newest_version() -> str:
    """The version of the agent that this console serves."""
    path = SOURCE / "pyproject.toml"
    return _version(path, path.stat().st_mtime_ns)


def agent_wheel() -> Wheel:
    """The wheel of the agent's present files. It is built once, and the same files give the same bytes."""
    with _building:
        return _build(tuple((path, path.stat().st_mtime_ns) for path in _files()))


@lru_cache(maxsize=1)
def _version(path: Path, changed_ns: int) -> str:
    return str(tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"])


def _files() -> list[Path]:
    """What goes into the wheel. `wire` is a link into jatevo/, which is followed."""
    found = [SOURCE / "pyproject.toml", SOURCE / "README.md"]
    for folder, subfolders, names in os.walk(SOURCE / "jatevo_agent", followlinks=True):
        subfolders[:] = [each for each in subfolders if each != "__pycache__"]
        found += [Path(folder) / name for name in names]
    return sorted(found)


@lru_cache(maxsize=1)
def _build(files: tuple[tuple[Path, int], ...]) -> Wheel:
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory() as folder:
        [built] = WheelBuilder(str(SOURCE)).build(directory=folder, versions=["standard"])
        path = Path(built)
        content = path.read_bytes()
    return Wheel(
        name=path.name,
        version=project["version"],
        requires_python=project["requires-python"],
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
    )
