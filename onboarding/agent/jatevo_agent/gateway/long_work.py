"""Work whose time grows with the size of a request or an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

LONG_BYTES = 256 * 1024

_Result = TypeVar("_Result")


async def worked(work: Callable[[], _Result], size_bytes: int) -> _Result:
    """The result of `work` on so many bytes. It is done in another thread if other streams would wait for it."""
    if size_bytes <= LONG_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(None, work)
