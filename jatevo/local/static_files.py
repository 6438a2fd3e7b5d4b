"""Collects static files for whitenoise, if one of them has changed. Hashing them takes seconds."""

import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command


def collect(home: Path) -> bool:
    """Update STATIC_ROOT. Returns whether anything had changed."""
    stamp = home / "run" / "static-files"
    wanted = _fingerprint()
    if (
        stamp.exists()
        and stamp.read_text() == wanted
        and (Path(settings.STATIC_ROOT) / "staticfiles.json").exists()
    ):
        return False
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(wanted)
    return True


def _fingerprint() -> str:
    """A hash over every file's name, size and modification time."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list(["CVS", ".*", "*~"]):
            found = Path(storage.path(path)).stat()
            digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()
