"""How the agent ends: with an exit code for the service manager and a message for the operator."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes. After `NEEDS_A_PERSON`, a service manager should not restart the agent."""

    STOPPED = 0
    CRASHED = 1
    NEEDS_A_PERSON = 2
    TRY_LATER = 3


class CannotRun(Exception):
    """The agent cannot do its work. The message is one or two sentences for the operator."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.NEEDS_A_PERSON) -> None:
        super().__init__(message)
        self.exit_code = exit_code
