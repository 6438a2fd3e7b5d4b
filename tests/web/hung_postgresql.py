"""A separate PostgreSQL that a test can stop, and Django's connection to it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from django.db import connections

from jatevo.local import postgres
from jatevo.local.children import Children
from jatevo.local.stores import make_home
from jatevo.web.postgresql.base import DatabaseWrapper


@dataclass(frozen=True)
class HungPostgreSQL:
    socket_folder: Path
    pid: int

    def wrapper(self) -> DatabaseWrapper:
        """Django's connection to this server, as in `connections`."""
        own = {
            **connections["default"].settings_dict,
            "NAME": postgres.DATABASE,
            "USER": postgres.SUPERUSER,
            "HOST": str(self.socket_folder),
        }
        return DatabaseWrapper(own, alias=f"hung-{self.pid}")


@contextmanager
def private_postgresql() -> Iterator[HungPostgreSQL]:
    home = Path(tempfile.mkdtemp(prefix="jatevo-"))  # a short path: the socket lies below it
    home = make_home(home)  # whichever user the server runs as can pass through
    children = Children(home / "run" / "children")
    try:
        started = postgres.start(home, children, durable=False)
        yield HungPostgreSQL(started.socket_folder, started.child.process.pid)
        postgres.stop(started, children)
    finally:
        children.close()
        rmtree(home, ignore_errors=True)
