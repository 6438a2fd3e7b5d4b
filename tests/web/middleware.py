"""All test clients of a run share one chain of middleware, as all requests to a server do.

Django builds a chain for each `Client`. WhiteNoise lists every static file when it is built, which would take
more than half of a typical test's time. The chain is built again when a test has changed a setting, because
middleware reads its settings when it is created.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import setting_changed
from django.test.client import ClientHandler

_PARTS = ("_view_middleware", "_template_response_middleware", "_exception_middleware", "_middleware_chain")


@pytest.fixture(autouse=True, scope="session")
def one_chain_of_middleware() -> Iterator[None]:
    built: list[ClientHandler] = []
    build = ClientHandler.load_middleware

    def load_middleware(self: ClientHandler, is_async: bool = False) -> None:
        if not built:
            build(self, is_async)
            built.append(self)
        for part in _PARTS:
            setattr(self, part, getattr(built[0], part))

    def forget(**_: Any) -> None:
        built.clear()

    setting_changed.connect(forget)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientHandler, "load_middleware", load_middleware)
        yield
    setting_changed.disconnect(forget)
