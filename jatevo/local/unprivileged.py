"""PostgreSQL refuses to run as root. When the console runs as root, this module finds another user for it.

The wheel would call `useradd` and make the path to the data readable for all, which would open /root to
everyone if the console is there. This module changes neither the machine's users nor folders of others:

- The server gets a user id of its own without an account, from the range that systemd's table of ids leaves
  unused (systemd.io/UIDS-GIDS), so that no other daemon shares it.
- If a folder on the path is closed to others, the server gets one capability, CAP_DAC_READ_SEARCH, with
  which it can read and traverse but write only its own files. Default containers lack that capability but
  have the stronger CAP_DAC_OVERRIDE. PostgreSQL finds its own binary with access(2), which checks the real
  user and honours capabilities only with the securebit `no_setuid_fixup`.
- initdb requires an account for its user, so it runs as nobody. The files' owner is changed afterwards.
"""

import hashlib
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from jatevo.local.problems import CannotStart

FIRST_FREE_UID = 60578
FREE_UIDS = 606
INITDB_ACCOUNT = "nobody"
# Bit numbers of linux/capability.h, the weaker one first.
CAPABILITIES = (("dac_read_search", 2), ("dac_override", 1))


@dataclass(frozen=True)
class ServerUser:
    """The user that runs the server. `uid` owns its files. The prefixes go before the command lines."""

    uid: int
    gid: int
    run: tuple[str, ...]
    initialise: tuple[str, ...]

    @property
    def other_than_us(self) -> bool:
        return self.uid != os.geteuid()


def server_user(data: Path, *, must_reach: tuple[Path, ...]) -> ServerUser:
    """The user to run the server as. It must be able to read the folders `must_reach`.

    Raises CannotStart if root cannot switch to such a user.
    """
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid(), (), ())
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise CannotStart(
            "PostgreSQL does not run as root, and setpriv (package util-linux), which switches to another "
            "user, is missing: start the console as an ordinary user."
        )
    permitted = _permitted()
    if permitted is not None and not any(permitted >> bit & 1 for _, bit in CAPABILITIES):
        raise CannotStart(
            "PostgreSQL does not run as root, and this container's root may not read another user's files: "
            "start the console as an ordinary user, or add the capability DAC_OVERRIDE."
        )
    uid = _owner(data) or _free_uid(data)
    way = _way(must_reach, permitted or 0)
    nobody = pwd.getpwnam(INITDB_ACCOUNT)
    initialise = _prefix(setpriv, nobody.pw_uid, nobody.pw_gid, way)
    return ServerUser(uid, uid, _prefix(setpriv, uid, uid, way), initialise)


def _owner(data: Path) -> int | None:
    """The server's user in an earlier run, so that a copied or renamed home still works."""
    try:
        return data.stat().st_uid or None
    except FileNotFoundError:
        return None


def _free_uid(data: Path) -> int:
    start = int.from_bytes(hashlib.sha256(str(data).encode()).digest()[:4])
    for offset in range(FREE_UIDS):
        uid = FIRST_FREE_UID + (start + offset) % FREE_UIDS
        try:
            pwd.getpwuid(uid)
        except KeyError:
            return uid
    raise CannotStart("PostgreSQL does not run as root, and every user id from 60578 to 61183 is taken.")


def _prefix(setpriv: str, uid: int, gid: int, way: tuple[str, ...]) -> tuple[str, ...]:
    return (setpriv, f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *way, "--")


def _way(must_reach: tuple[Path, ...], permitted: int) -> tuple[str, ...]:
    """The setpriv options that let the user reach the folders. Empty if they are open to everyone."""
    closed = next((folder for path in must_reach for folder in _closed_folders(path)), None)
    if closed is None:
        return ()
    for name, bit in CAPABILITIES:
        if permitted >> bit & 1:
            return (f"--inh-caps=+{name}", f"--ambient-caps=+{name}", "--securebits=+no_setuid_fixup")
    raise CannotStart(
        f"PostgreSQL does not run as root, and its own user cannot enter {closed}: put the clone and "
        "JATEVO_HOME in a folder that other users may enter, or start the console as an ordinary user."
    )


def _closed_folders(path: Path) -> list[Path]:
    folders = [path, *path.parents]
    return [folder for folder in folders if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH]


def _permitted() -> int | None:
    """This process's permitted capabilities as a bit mask. None if the system has none (macOS)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except FileNotFoundError:
        return None
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:")), 0)
