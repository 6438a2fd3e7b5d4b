"""A template of what a first start creates, which costs as much as a hundred tests.

It has PostgreSQL's folder with the migrated database, ClickHouse's tables and static files. It is created once, in
build/tests, and copied for each process of a test run.

It only saves time: a console with a copy still migrates and collects, and finds nothing to do. A template is
valid for the content of the migrations, the lock file and the month (migrations create partitions from the
current month on). If none can be stored, as in a clone of another user, homes start empty.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

BASE_DIR = Path(__file__).parents[1]
FOLDER = BASE_DIR / "build" / "tests"
# What decides about the content. A file that is missing here is made up for by the migrations of each run.
SOURCES = ("*/migrations/*.py", "jatevo/*/migrations/*.py", "jatevo/metrics/schema/*.sql")
SINGLE_SOURCES = ("uv.lock", "jatevo/local/postgres.py", "tests/template_home.py")
PARTS = ("postgres", "chdb", "static", "run/static-files")
KEPT = 3


def copy_into(home: Path) -> None:
    """Fill an empty home from the template, which the first caller creates. If that fails, it stays empty."""
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        with _locked(fcntl.LOCK_EX):
            template = _template()
            if not template.exists():
                _make(template)
        with _locked(fcntl.LOCK_SH):
            _copy(template, home)
    except (OSError, subprocess.CalledProcessError):
        for part in PARTS:
            shutil.rmtree(home / part, ignore_errors=True)


def install(home: Path) -> None:
    """Everything that a first start creates, in a process that has not loaded Django yet."""
    from jatevo.local import stores

    servers = stores.start(home, durable=False)
    try:
        os.environ.update(servers.environment(), DJANGO_SETTINGS_MODULE="jatevo.settings")
        import django
        from django.core.management import call_command

        django.setup()
        from jatevo.local.static_files import collect
        from jatevo.metrics.migrator import migrate
        from jatevo.metrics.store import close_stores, get_store

        call_command("migrate", interactive=False, verbosity=0)
        migrate(get_store(), at=datetime.now(UTC))
        close_stores()
        collect(home)
    finally:
        servers.stop()


def _make(template: Path) -> None:
    """Raises CalledProcessError if a migration fails. The test run then gets and shows the same error."""
    # A short path: PostgreSQL's socket lies below it.
    home = Path(tempfile.mkdtemp(prefix="jatevo-template-"))
    new = template.with_suffix(".new")
    try:
        env = {name: value for name, value in os.environ.items() if not name.startswith("JATEVO_")}
        subprocess.run(
            [sys.executable, "-m", "tests.template_home", str(home)],
            cwd=BASE_DIR,
            env=env,
            check=True,
            capture_output=True,
        )
        shutil.rmtree(new, ignore_errors=True)
        _copy(home, new)
        new.rename(template)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(new, ignore_errors=True)
    ours = sorted(FOLDER.glob(f"{os.geteuid()}-*"), key=lambda each: each.stat().st_mtime, reverse=True)
    for old in ours[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """Copies the parts with their owners and times. `cp` takes a sixth of the time of shutil."""
    for part in PARTS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", source / part, target / part], check=True, capture_output=True)


def _template() -> Path:
    digest = hashlib.sha256(f"{sys.version}\n{datetime.now(UTC):%Y-%m}\n".encode())
    found = [path for pattern in SOURCES for path in BASE_DIR.glob(pattern)]
    found += [BASE_DIR / name for name in SINGLE_SOURCES]
    for path in sorted(found):
        digest.update(f"{path.relative_to(BASE_DIR)}\n".encode() + path.read_bytes())
    # root's cluster belongs to another user than an ordinary user's, who could not read it
    return FOLDER / f"{os.geteuid()}-{digest.hexdigest()[:16]}"


@contextmanager
def _locked(kind: int) -> Iterator[None]:
    with (FOLDER / f"{os.geteuid()}.lock").open("w") as file:
        fcntl.flock(file, kind)
        yield


if __name__ == "__main__":
    install(Path(sys.argv[1]))
