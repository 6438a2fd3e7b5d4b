"""Runs schemathesis against the console: every operation of its OpenAPI document, in all phases, with all checks."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import schemathesis
from schemathesis import engine
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.engine import events
from schemathesis.generation.case import Case
from schemathesis.transport.wsgi import WSGITransport

from tests.web.api_callers import NODE, REQUEST, Caller

# Of the long run, `make fuzz`
EXAMPLES = int(os.environ.get("EXAMPLES") or 50)
SEED = int(os.environ.get("SEED") or time.time())

# What no schema can say: which 32 bytes are a key, whose signature fits, what time it is, which fields go together,
# which days are a range, and which cursors the console has given out. Here valid data may be refused.
JUDGED_FURTHER = (
    "GET /v1/earnings",
    "GET /v1/incidents",
    "GET /v1/nodes",
    "GET /v1/receipts",
    "POST /v1/auth/login",
    "POST /v1/dispatches",
    "POST /v1/enrollments",
    "POST /v1/nodes/register",
    "POST /v1/nodes/challenge",
    "POST /v1/nodes/heartbeat",
    "POST /v1/nodes/{node_id}/keys",
    "POST /v1/probes",
    "POST /v1/receipts",
)
# Members that no schema describes must be strict JSON as well, without integers beyond 2^53-1: 400.
REFUSALS = ["400", "422"]
ACCEPTED = ["2xx", "401", "403", "404", "409"]


@dataclass(frozen=True)
class Run:
    requests: int
    disagreements: list[str]


def compare(
    application: Any, caller: Caller, *, examples: int, seed: int, known_ids: bool, boundaries: bool
) -> Run:
    """Calls every operation as the caller, with right and with wrong data.

    `examples` is how many are invented for each operation. `boundaries` adds some 1,500 requests that follow from
    the document alone: each limit, type and missing member once. With `known_ids` the ids in paths, and most of
    those in bodies, are those of `Network`.
    """
    load_all_checks()
    settings = _settings(caller, examples, seed, known_ids=known_ids, boundaries=boundaries)
    config = SchemathesisConfig.from_dict(settings)
    schema = schemathesis.openapi.from_wsgi("/v1/openapi.json", application, config=config)
    requests = 0
    disagreements: dict[str, str] = {}
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            requests += len(event.recorder.interactions)
            disagreements |= dict(_disagreements(event))
        elif isinstance(event, events.NonFatalError | events.FatalError):
            disagreements[str(event)] = f"schemathesis could not go on: {event}"
    return Run(requests, list(disagreements.values()))


def _settings(
    caller: Caller, examples: int, seed: int, *, known_ids: bool, boundaries: bool
) -> dict[str, Any]:
    known = {
        "dictionaries": {
            "ids": {"values": [NODE]},
            "times": {"values": [int(time.time())]},
        },
        "parameters": {
            "path.node_id": NODE,
            "path.request_id": REQUEST,
            "body.node_id": {"dictionary": "ids", "probability": 0.7},
            "body.ts": {"dictionary": "times", "probability": 0.7},
        },
    }
    return {
        "seed": seed,
        "headers": caller.headers,
        "continue-on-failure": True,
        "phases": {"coverage": {"enabled": boundaries}},
        "generation": {
            "max-examples": examples, "deterministic": False, "database": "none",
            "allow-x00": False, "with-security-parameters": False,
        },
        "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
        "operations": [
            {
                "include-name": list(JUDGED_FURTHER),
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, *REFUSALS]}},
            },
            {  # no node may be called like a route that takes POST only
                "include-name": "GET /v1/nodes/{node_id}",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "405"]}},
            },
        ],
        **(known if known_ids else {}),
    }  # fmt: skip


def _disagreements(event: events.ScenarioFinished) -> Iterator[tuple[str, str]]:
    """One for each operation, check and title, with the request that shows it."""
    for case_id, nodes in event.recorder.checks.items():
        for node in nodes:
            if node.failure_info is None:
                continue
            failure = node.failure_info.failure
            interaction = event.recorder.interactions.get(case_id)
            answer = interaction.response if interaction else None
            said = f"{answer.status_code} {answer.text[:500]}" if answer else "no answer"
            yield (
                f"{event.recorder.label} {node.name} {failure.title}",
                f"{event.recorder.label}: {node.name}: {failure.message}\n{node.failure_info.code_sample}\n{said}",
            )


def send_without_sockets(self: WSGITransport, case: Case, **settings: Any) -> Response:
    """`WSGITransport.send`, which fails in schemathesis 4.32 where a check repeats a request without its session:
    it then passes on settings of sockets, which there are none of.
    """
    for name in ("max_redirects", "verify", "cert", "proxies"):
        settings.pop(name, None)
    return _send(self, case, **settings)


_send = WSGITransport.send
