"""The table of models: what is counted, and what strangers must not be able to infer."""

import pytest

from jatevo.metrics.queries import ModelTraffic
from jatevo.overview.model_figures import OTHER_MODELS, ModelLine, model_lines, offers_of

TRAFFIC = {
    "big": ModelTraffic(1000, 300.0),
    "mid": ModelTraffic(500, 200.0),
    "own": ModelTraffic(7, 90.0),
    "gone": ModelTraffic(3, 80.0),
}


def by_name(lines: list[ModelLine]) -> dict[str, ModelLine]:
    return {line.name: line for line in lines}


def test_spellings_of_a_model_are_one_and_a_node_counts_once() -> None:
    offers = offers_of([(["QWEN3", "qwen3:latest"], 2), (["qwen3"], 3), (["llama3"], 1)])
    assert {normal: (each.name, each.nodes) for normal, each in offers.models.items()} == {
        "qwen3": ("qwen3", 5),
        "llama3": ("llama3", 1),
    }
    assert offers.nodes_of_few == 1


def test_operators_see_every_model_the_busiest_first() -> None:
    lines = model_lines(
        offers_of([(["big", "own"], 1), (["big"], 9), (["mid"], 5)]), TRAFFIC, fold_small=False
    )
    assert [(line.name, line.nodes, line.requests, line.p95_ms) for line in lines] == [
        ("big", 10, 1000, 300.0),
        ("mid", 5, 500, 200.0),
        ("own", 1, 7, 90.0),
        ("gone", 0, 3, 80.0),
    ]


def test_strangers_neither_see_the_model_of_a_few_nor_find_its_requests_by_subtraction() -> None:
    offers = offers_of([(["big", "own"], 1), (["big"], 9), (["mid"], 5)])
    lines = by_name(model_lines(offers, TRAFFIC, fold_small=True))
    assert set(lines) == {"big", "mid", OTHER_MODELS}
    other = lines[OTHER_MODELS]
    assert (other.nodes, other.p95_ms) == (1, None)
    assert lines["mid"].requests is None  # told with those of the few
    assert other.requests == 500 + 7 + 3
    network = sum(each.requests for each in TRAFFIC.values())
    told = sum(line.requests or 0 for line in lines.values())
    assert told == network
    assert network - (lines["big"].requests or 0) == other.requests  # and nothing more can be inferred


def test_several_small_models_on_enough_nodes_need_no_cover() -> None:
    offers = offers_of([(["big"], 9), (["own"], 3), (["gone"], 2)])
    lines = by_name(model_lines(offers, TRAFFIC | {"mid": ModelTraffic(0, None)}, fold_small=True))
    assert lines[OTHER_MODELS].nodes == 5
    assert lines[OTHER_MODELS].requests == 10
    assert lines["big"].requests == 1000


@pytest.mark.parametrize("fold_small", [True, False])
def test_without_the_metrics_store_requests_are_not_known_and_never_zero(fold_small: bool) -> None:
    lines = model_lines(offers_of([(["big"], 9), (["own"], 1)]), None, fold_small=fold_small)
    assert len(lines) == 2
    assert all(line.requests is None and line.p95_ms is None and line.unknown for line in lines)


def test_a_model_without_requests_has_zero_requests() -> None:
    (line,) = model_lines(offers_of([(["big"], 9)]), {}, fold_small=True)
    assert (line.requests, line.p95_ms, line.unknown) == (0, None, "no requests")
