"""Serves the lane: `python -m jatevo.lane --port 8001`.

uvicorn's own command would serve it too, but trusts X-Forwarded-For of a client on the same machine, and closes idle
connections before the proxy does.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jatevo.settings")

from django.conf import settings
from django.utils.log import configure_logging
from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from jatevo.lane.http import BoundedHttp

APPLICATION: Final = "jatevo.lane.application:application"
KEEP_ALIVE_SECONDS: Final = 75  # longer than nginx keeps its own end open, which is 60
DRAIN_SECONDS: Final = 20
SILENT_SECONDS: Final = 10  # a process that has not answered its parent for so long is replaced


class Processes(Multiprocess):
    """Several processes that share a socket. The last of them to stop closes it, so that no client waits at it in vain."""

    def terminate_all(self) -> None:
        for each in self.sockets:
            each.close()
        super().terminate_all()


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jatevo.lane", description="Serves the ingress lane.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args(words)
    # Loads the settings: what is wrong with them ends this process, before another is started again and again.
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    config = Config(
        APPLICATION,
        host=options.host,
        port=options.port,
        workers=options.workers,
        http=BoundedHttp,
        loop="uvloop",
        lifespan="on",
        ws="none",
        proxy_headers=False,  # the application looks at them itself
        server_header=False,
        access_log=False,
        log_config=None,  # the console's own
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_worker_healthcheck=SILENT_SECONDS,
    )
    if options.workers > 1:
        Processes(config, [config.bind_socket()]).run()
        return
    server = Server(config)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


if __name__ == "__main__":
    main()
