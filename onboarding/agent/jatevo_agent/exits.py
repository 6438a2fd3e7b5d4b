"""How the agent's process ends. A service manager reads the code, a person reads the sentence."""

from enum import IntEnum


class ExitCode(IntEnum):
    """`NEEDS_A_PERSON` will not pass by itself: a service manager should not start the agent again."""

    STOPPED = 0
    CRASHED = 1
    NEEDS_A_PERSON = 2
    TRY_LATER = 3


class CannotRun(Exception):
    """The agent cannot do its work; the message is one sentence or two for the operator."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.NEEDS_A_PERSON) -> None:
        super().__init__(message)
        self.exit_code = exit_code
