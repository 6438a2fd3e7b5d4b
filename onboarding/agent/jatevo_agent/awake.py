"""Keeps a Mac from going to sleep while the agent serves.

`caffeinate -i` holds an assertion against idle sleep. With `-w` it watches the agent's process and ends with
it, whatever ends it. Closing the lid puts a Mac to sleep all the same, and no assertion changes that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from . import logs

CAFFEINATE = Path("/usr/bin/caffeinate")


class KeptAwake:
    """Holds the assertion from `start` to `stop`. Does nothing on other systems."""

    def __init__(self, platform: str = sys.platform, program: Path = CAFFEINATE) -> None:
        self._wanted = platform == "darwin"
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start caffeinate. If that fails, the Mac may sleep, and a warning says so."""
        if not self._wanted:
            return
        try:
            self._process = subprocess.Popen(
                [str(self._program), "-i", "-w", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is for the agent
            )
        except OSError as error:
            logs.warning("this Mac may go to sleep: caffeinate does not start", reason=error.strerror)

    def stop(self) -> None:
        """End caffeinate."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
