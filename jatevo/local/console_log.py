"""Sends the console's own log to a file during the one-machine run: the terminal is for people."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jatevo.local.log_files import rotate


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """For the block, whatever settings.LOGGING writes to a stream goes to the file, in the same format.

    Warnings and logs before the block go to the terminal.
    """
    rotate(path)
    handlers = [handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler]
    with path.open("a", encoding="utf-8") as file:
        before = [handler.setStream(file) for handler in handlers]
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            for handler, stream in zip(handlers, before, strict=True):
                if stream is not None:
                    handler.setStream(stream)
