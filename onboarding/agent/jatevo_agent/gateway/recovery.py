"""After a crash: receipts for requests that were under way."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from .. import logs
from ..completion import Completion
from ..wire.schema import MAX_AGE_SECONDS, RequestOutcome, UsageSource
from .journal import Journal, UnderWay


def recover(path: Path, record: Callable[[Completion], None], has_answered: Callable[[str], bool]) -> int:
    """Store a receipt for each request in the journal that has none. Returns their number.

    The outcome is `error`: the node did not complete the request. The receipt states what had been delivered
    when the journal was last written, which is at most what the client got. A receipt that cannot be stored
    stays in the journal. Raises OSError if the journal cannot be used.
    """
    journal = Journal(path, 0)
    recovered = 0
    try:
        for page, request in journal.left_behind().items():
            if not has_answered(request.request_id) and request.at > time.time() - MAX_AGE_SECONDS:
                try:
                    record(_completion(request))
                except sqlite3.IntegrityError:
                    pass  # the spool has its receipt
                except (sqlite3.Error, OSError) as error:
                    logs.error(
                        "a request that was cut off has no receipt yet; the next start tries again",
                        request_id=request.request_id,
                        reason=str(error),
                    )
                    continue
                else:
                    logs.warning("a request was cut off when the agent ended", request_id=request.request_id)
                    recovered += 1
            journal.forget(page)
    finally:
        journal.close()
    return recovered


def _completion(request: UnderWay) -> Completion:
    return Completion(
        request_id=request.request_id,
        model_id=request.model_id,
        model_sha256=request.model_sha256,
        prompt_blake3=request.prompt_blake3,
        tokens_input=0,
        tokens_output=request.tokens_output,
        started_at=request.started_at,
        ended_at=request.at,
        p95_ms=0.0,
        hedged=request.hedged,
        outcome=RequestOutcome.ERROR,
        usage_source=UsageSource.COUNTED,
        output_blake3=request.output_blake3,
    )
