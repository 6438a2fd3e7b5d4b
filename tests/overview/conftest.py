"""A network with chDB, and one without."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

import pytest

from jatevo.accounts.models import Org
from jatevo.metrics.store import MetricsUnavailable
from jatevo.overview import kpis
from nodes.models import Node
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory, OrgFactory
from tests.metrics.conftest import chdb_store

__all__ = ["chdb_store"]

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


class DownStore:
    """Behaves like an unreachable ClickHouse."""

    def execute(self, sql: str, params: Any = None) -> NoReturn:
        raise MetricsUnavailable("connection refused")


@pytest.fixture
def metrics_down(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that makes ClickHouse unreachable for the rest of the test."""
    return lambda: monkeypatch.setattr(kpis, "get_store", DownStore)


@pytest.fixture
def org(db: None) -> Org:
    return OrgFactory.create()


@pytest.fixture
def fleet(org: Org) -> list[Node]:
    """Five active nodes in ap-southeast, two in us-west, and a pending one with its own model."""
    return [
        *NodeFactory.create_batch(5, org=org, region="ap-southeast", status=Status.ACTIVE),
        *NodeFactory.create_batch(
            2, org=org, region="us-west", status=Status.ACTIVE, models_offered=["a", "b"]
        ),
        NodeFactory.create(org=org, region="sa-east", models_offered=["only-here"]),
    ]
