"""The one-machine run: private stores, web server, worker and demo fleet, started by one console process.

`make run` calls `python -m jatevo.local run`. Only Django's app registry (for the `worker` command) and
the tests, which use the private stores, import this package from outside.
"""
