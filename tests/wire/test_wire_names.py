"""The rule for names that agents supply, and the form in which models are compared."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jatevo.wire.names import (
    distinct_models,
    name_problem,
    node_id_problem,
    normal_model,
    region_problem,
)
from tests.wire.hostile_names import HOSTILE


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_is_refused_with_a_reason(name: str) -> None:
    problem = name_problem(name)
    assert problem is not None
    assert problem.startswith("must ")


@pytest.mark.parametrize(
    "name",
    ["llama3.1-8b", "Qwen/Qwen3-32B", "qwen3:latest", "NVIDIA GeForce RTX 4090", "2 x H100", "Apple M3 Max", "名前",
     "modèle", "नमूना", "😀", "x" * 128, "a", "é" * 128],
)  # fmt: skip
def test_honest_name_passes(name: str) -> None:
    assert name_problem(name) is None


@given(st.text(max_size=140))
@example("e\u0301")
@settings(max_examples=500, deadline=None)
def test_a_name_that_passes_shows_what_it_says(name: str) -> None:
    if name_problem(name) is not None:
        return
    assert 1 <= len(name) <= 128
    assert name == name.strip()
    assert not {unicodedata.category(character) for character in name} & {
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
        "Zl",
        "Zp",
    }
    assert [character for character in name if character.isspace()] == [" "] * name.count(" ")


@pytest.mark.parametrize(
    "node_id", ["", "A", "a b", "a\n", "é", ".", "..", "register", "heartbeat", "x" * 65]
)
def test_node_id_that_cannot_be_one_is_refused(node_id: str) -> None:
    assert node_id_problem(node_id) is not None


def test_node_ids_and_regions_that_can_be_ones_pass() -> None:
    assert [node_id_problem(each) for each in ("macbook-001", "a.b_c-9", "...", "x" * 64)] == [None] * 4
    assert [region_problem(each) for each in ("ap-southeast", "1", "x" * 32)] == [None] * 3
    assert None not in [region_problem(each) for each in ("", "A", "a.b", "x" * 33, "a\n", "٣")]


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("qwen3", "qwen3"),
        ("QWEN3", "qwen3"),
        ("qwen3:latest", "qwen3"),
        ("Qwen3:LATEST", "qwen3"),
        ("qwen3:8b", "qwen3:8b"),
        ("qwen3:latest-8b", "qwen3:latest-8b"),
        ("qwen3:latest:latest", "qwen3:latest"),
        (":latest", ":latest"),
        ("MODÈLE", "modÈle"),  # only A to Z, as in ClickHouse
        ("İ", "İ"),
    ],
)
def test_models_are_compared_without_case_and_default_tag(name: str, normal: str) -> None:
    assert normal_model(name) == normal


def test_a_model_named_twice_keeps_its_first_name() -> None:
    assert distinct_models(["Qwen3", "llama", "qwen3:latest", "llama", "llama:8b"]) == (
        "Qwen3",
        "llama",
        "llama:8b",
    )
