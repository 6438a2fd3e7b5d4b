"""Decides when to restart a store that has ended by itself (killed, out of memory, crashed)."""

from jatevo.local.children import Child
from jatevo.local.problems import CannotStart

FIRST_PAUSE_SECONDS = 0.5
MOST_RESTARTS = 5
WITHIN_SECONDS = 60.0


class Keeper:
    """Counts one store's restarts. The first is immediate, and each pause after it is twice the one before.

    Times are monotonic seconds.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._restarts: list[float] = []

    def is_due(self, child: Child, *, at: float) -> bool:
        """Whether to restart it now. Raises CannotStart after too many restarts in a short time."""
        if child.running():
            return False
        self._restarts = [each for each in self._restarts if at - each < WITHIN_SECONDS]
        done = len(self._restarts)
        if done == MOST_RESTARTS:
            raise CannotStart(
                f"{self.name} ended with code {child.process.returncode}, after {MOST_RESTARTS} restarts "
                f"within {WITHIN_SECONDS:.0f} s: {child.last_words()}."
            )
        if done and at < self._restarts[-1] + FIRST_PAUSE_SECONDS * 2 ** (done - 1):
            return False
        self._restarts.append(at)
        return True

    def line(self, child: Child) -> str:
        """The line to print about a restart."""
        return f"{self.name} ended (code {child.process.returncode}); started it again."
