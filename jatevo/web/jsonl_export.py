"""The writer of exports as JSON Lines: one JSON object a line, in UTF-8, without a byte order mark."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from django.http import StreamingHttpResponse

from jatevo.web.capped_work import EXPORTS

CONTENT_TYPE = "application/x-ndjson"


def jsonl_answer(objects: Iterable[Mapping[str, Any]], *, name: str) -> StreamingHttpResponse:
    """The streamed download `name`. Raises ApiError 503 while too many exports run."""
    answer = StreamingHttpResponse(EXPORTS.held_through(jsonl_lines(objects)), content_type=CONTENT_TYPE)
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "private, no-store"
    return answer


def jsonl_lines(objects: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The lines, one for each object."""
    for each in objects:
        yield orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE).decode()
