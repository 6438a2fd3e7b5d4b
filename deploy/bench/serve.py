"""The one-machine web server and worker on stores that are already running: `python -m bench.serve`.

It has the same parts as `make run`: waitress, and the worker in a thread. The benchmark runs the stores
itself, because it empties Redis to measure with a cold cache.
"""

import os
import socket
from pathlib import Path


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jatevo.settings")
    django.setup()
    from django.conf import settings

    from jatevo.local.static_files import collect
    from jatevo.local.stopping import listen

    collect(Path(settings.HOME))
    from jatevo.local.web_server import WebServer
    from jatevo.local.worker import WorkerThread
    from jatevo.wsgi import application

    asked_to_stop = listen()
    claimed = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
    worker, web = WorkerThread(), WebServer(application, claimed)
    worker.start()
    web.start()
    asked_to_stop.wait(None)
    worker.ask_to_stop()
    web.stop(grace_seconds=2)
    worker.wait(timeout_seconds=5)
    os._exit(0)  # the benchmark must not wait for a job that is still running


if __name__ == "__main__":
    main()
