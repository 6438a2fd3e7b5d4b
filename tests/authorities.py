"""Reads the certificate authorities that httpx trusts once in a process.

httpx reads them for each client, for 20 ms, and hundreds of tests make clients. Clients that choose whom they trust, also by
the environment, read that themselves. It is a plugin (`-p tests.authorities` in pyproject.toml), for the agent's tests too.
"""

import os
import ssl
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import pytest
from httpx._transports import default as transports


@cache
def _usual() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _create(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    chosen = trust_env and (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"))
    if verify is True and cert is None and not chosen:
        return _usual()
    return httpx.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)


@pytest.fixture(scope="session", autouse=True)
def authorities_read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transports, "create_ssl_context", _create)
        yield
