"""How the agent's process ends: an exit code for the service manager, and a sentence for a person."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes. After `NEEDS_A_PERSON`, a service manager should not restart the agent."""

    STOPPED = 0
    CRASHED = 1
    NEEDS_A_PERSON = 2
    TRY_LATER = 3


class CannotRun(Exception):
    """The agent cannot do its work; the message is one sentence or two for the operator."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.NEEDS_A_PERSON) -> None:
        super().__init__(message)
        self.exit_code = exit_code
