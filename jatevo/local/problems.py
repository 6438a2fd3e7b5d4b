"""The error that stops the console from starting."""


class CannotStart(Exception):
    """The message is one sentence that names the cause and, if there is one, the remedy."""
