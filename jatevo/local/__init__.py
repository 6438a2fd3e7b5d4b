"""The one-machine run: private stores, server, worker and demo fleet in one console process.

`python -m jatevo.local run` is `make run`. Nothing outside this package imports it, except Django's
app registry (for the `worker` command) and the test suite, which borrows the private stores.
"""
