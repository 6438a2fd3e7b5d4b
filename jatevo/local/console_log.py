"""Sends the console's log to a file during the one-machine run, to keep the terminal readable."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jatevo.local.log_files import rotate


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Within the block, logs and warnings go to the file instead of the terminal, in the same format."""
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
