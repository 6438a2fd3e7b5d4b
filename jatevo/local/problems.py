"""The error that stops the console from starting."""


class CannotStart(Exception):
    """The message is a single plain sentence that names the cause and, where there is one, the remedy."""
