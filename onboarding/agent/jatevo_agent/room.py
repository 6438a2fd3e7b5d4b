"""Whether there is room on disk for more receipts.

A receipt is money, so none is dropped. Before the spool outgrows its limit, or the disk is full, the agent
stops taking requests instead, and goes on when receipts have been delivered.
"""

from __future__ import annotations

import os
from pathlib import Path

from . import logs

DEFAULT_LIMIT_MB = 1024
LEAST_FREE_BYTES = 64 * 2**20  # for the receipts of requests under way, and for SQLite's log


class Room:
    """Compares what the spool uses with its limit, and the disk with LEAST_FREE_BYTES.

    `used_bytes` is set by the spool after each change. `lack` may be called from any thread.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._was_lacking = False
        self.used_bytes = 0

    def lack(self) -> str | None:
        """Why no request should be taken now, as a sentence. None while there is room."""
        lack = self._lack()
        if lack and not self._was_lacking:
            logs.error("no more requests are taken; receipts are kept", reason=lack)
        elif self._was_lacking and not lack:
            logs.info("there is room for receipts again; requests are taken")
        self._was_lacking = lack is not None
        return lack

    def _lack(self) -> str | None:
        if self.used_bytes >= self._limit_bytes:
            return (
                f"Receipts fill the spool to its limit of {self._limit_bytes // 2**20} MB (spool_limit_mb):"
                " they must reach the console first."
            )
        free_bytes = free_bytes_at(self._folder)
        if free_bytes < LEAST_FREE_BYTES:
            return f"Only {free_bytes // 2**20} MB are free on the disk of {self._folder}: free some space."
        return None


def free_bytes_at(folder: Path) -> int:
    """What an ordinary user may still write to the folder's disk."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
