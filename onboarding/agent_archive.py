"""The reference agent as a zip file that pip installs from its URL."""

import hashlib
import os
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "agent"
TOP_FOLDER = "jatevo-agent"  # pip unpacks an archive that has one folder at its top
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that the same files give the same bytes


@dataclass(frozen=True)
class Archive:
    """The zip's bytes and their SHA-256 in hex."""

    content: bytes
    sha256: str


def agent_archive() -> Archive:
    """The agent's source from this checkout, built once per version of the files."""
    files = _files()
    return _build(tuple((name, path, path.stat().st_mtime_ns) for name, path in files))


def _files() -> list[tuple[str, Path]]:
    """Names in the archive and their files. `wire` is a link into jatevo/, which is followed."""
    found = [(name, SOURCE / name) for name in ("pyproject.toml", "README.md")]
    for folder, subfolders, names in os.walk(SOURCE / "jatevo_agent", followlinks=True):
        subfolders[:] = [each for each in subfolders if each != "__pycache__"]
        for name in names:
            path = Path(folder) / name
            if path.suffix == ".py" or name == "py.typed":
                found.append((path.relative_to(SOURCE).as_posix(), path))
    return sorted(found)


@lru_cache(maxsize=1)
def _build(files: tuple[tuple[str, Path, int], ...]) -> Archive:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path, _changed in files:
            entry = zipfile.ZipInfo(f"{TOP_FOLDER}/{name}", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    content = buffer.getvalue()
    return Archive(content, hashlib.sha256(content).hexdigest())
