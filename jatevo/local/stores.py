"""The private stores together, and the environment that points Django at them."""

import os
from pathlib import Path

from jatevo.local import keys, postgres, valkey
from jatevo.local.children import Children
from jatevo.local.keeper import Keeper


class Stores:
    """PostgreSQL and Valkey in one home, which the caller has created with `make_home` and locked.

    Processes that a killed console left running there are ended first.
    """

    def __init__(self, home: Path, *, durable: bool = True) -> None:
        self.home = home
        self.children = Children(home / "run" / "children")
        self._durable = durable
        self._postgres: postgres.Postgres | None = None
        self._valkey: valkey.Valkey | None = None
        self._postgres_keeper = Keeper("PostgreSQL")
        self._valkey_keeper = Keeper("Valkey")
        self.children.end_leftovers()

    def start_postgres(self) -> None:
        self._postgres = postgres.start(self.home, self.children, durable=self._durable)

    def start_valkey(self) -> None:
        self._valkey = valkey.start(self.home, self.children)

    def secrets(self) -> dict[str, str]:
        """The installation's secrets by the names of their variables. The environment takes precedence."""
        return {name: os.environ.get(name) or kept for name, kept in keys.load_or_make(self.home).items()}

    def environment(self) -> dict[str, str]:
        """The environment variables with which settings.py uses the started stores."""
        found = {
            **self.secrets(),
            "JATEVO_EMBEDDED": "1",
            "JATEVO_HOME": str(self.home),
            "CLICKHOUSE_URL": "",
        }
        if self._postgres is not None:
            found |= self._postgres.environment
        if self._valkey is not None:
            found["REDIS_URL"] = self._valkey.url
        return found

    def keep_running(self, *, at: float) -> list[str]:
        """Restart stores that have ended by themselves. Returns lines to print. `at` is in monotonic seconds.

        Call it a few times a second. Raises CannotStart if a store has ended too often.
        """
        said = []
        if self._postgres is not None and self._postgres_keeper.is_due(self._postgres.child, at=at):
            said.append(self._postgres_keeper.line(self._postgres.child))
            self._postgres = postgres.restart(self._postgres, self.children)
        if self._valkey is not None and self._valkey_keeper.is_due(self._valkey.child, at=at):
            said.append(self._valkey_keeper.line(self._valkey.child))
            self._valkey = valkey.restart(self._valkey, self.home, self.children)
        return said

    def stop(self) -> None:
        if self._valkey is not None:
            valkey.stop(self._valkey, self.children)
        if self._postgres is not None:
            postgres.stop(self._postgres, self.children)
        self.children.close()


def start(home: Path, *, durable: bool = True) -> Stores:
    """Start both servers. If one fails to start, both are stopped. Raises CannotStart."""
    stores = Stores(make_home(home), durable=durable)
    try:
        stores.start_postgres()
        stores.start_valkey()
    except BaseException:
        stores.stop()
        raise
    return stores


def make_home(home: Path) -> Path:
    """Create the installation's folders and return the resolved path.

    If root starts the console, PostgreSQL runs as another user. Then other users may pass through the home,
    and the private folders and files in it have their own modes.
    """
    home = home.expanduser().resolve()
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    for name, mode in (("run", 0o711), ("logs", 0o700), ("chdb", 0o700)):
        (home / name).mkdir(exist_ok=True)
        (home / name).chmod(mode)
    return home
