"""The network's figures for Prometheus."""

from collections.abc import Callable

import pytest
from django.db import DatabaseError
from django.test import Client
from pytest_django.fixtures import Settings

from jatevo.metrics.store import Store
from jatevo.overview import kpis
from nodes.models import Node


@pytest.fixture
def scrape(settings: Settings) -> Callable[[], dict[str, float]]:
    """The samples whose names begin with `summary_`."""
    settings.METRICS_TOKEN = "let-me-scrape"

    def ask() -> dict[str, float]:
        answer = Client().get("/metrics", headers={"Authorization": "Bearer let-me-scrape"})
        assert answer.status_code == 200
        lines = [line.split() for line in answer.content.decode().splitlines()]
        return {line[0]: float(line[1]) for line in lines if line and line[0].startswith("summary_")}

    return ask


def test_prometheus_gets_the_figures_of_the_overview(
    scrape: Callable[[], dict[str, float]], fleet: list[Node], chdb_store: Store
) -> None:
    assert scrape() == {"summary_active_nodes": 7, "summary_requests_24h": 0, "summary_models_cached": 3}


def test_what_is_unknown_has_no_sample(
    scrape: Callable[[], dict[str, float]], fleet: list[Node], metrics_down: Callable[[], None]
) -> None:
    metrics_down()
    assert scrape() == {"summary_active_nodes": 7, "summary_models_cached": 3}


@pytest.mark.django_db
def test_without_postgresql_the_other_metrics_are_still_there(
    scrape: Callable[[], dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise DatabaseError("connection refused")

    monkeypatch.setattr(kpis, "take", broken)
    assert scrape() == {}
