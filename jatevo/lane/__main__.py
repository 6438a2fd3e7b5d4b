"""Serves the lane: `python -m jatevo.lane --port 8001`.

uvicorn's own command would serve it too, but trusts X-Forwarded-For of a client on the same machine, and closes idle
connections before the proxy does.
"""

import argparse
import logging
from collections.abc import Sequence
from typing import Final

import uvicorn

from jatevo.lane.http import BoundedHttp

APPLICATION: Final = "jatevo.lane.application:application"
KEEP_ALIVE_SECONDS: Final = 75  # longer than nginx keeps its own end open, which is 60
DRAIN_SECONDS: Final = 20
SILENT_SECONDS: Final = 30  # after which a process is replaced that does not answer its parent


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jatevo.lane", description="Serves the ingress lane.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args(words)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    uvicorn.run(
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


if __name__ == "__main__":
    main()
