"""The definition of a model's traffic, on both engines, with batches that were delivered twice."""

from jatevo.metrics.queries import ModelTraffic, traffic_by_model
from jatevo.metrics.store import Store
from tests.metrics.wrappers import HOUR, NOON, NOON_SECONDS, deliver, receipt


def test_spellings_of_a_model_count_together_and_a_repeat_once(store: Store) -> None:
    facts = [
        receipt("r_1", model_id="QWEN3", p95_ms=100.0),
        receipt("r_2", model_id="qwen3:latest", p95_ms=100.0),
        receipt("r_3", model_id="qwen3", p95_ms=100.0),
        receipt("r_4", model_id=":latest", p95_ms=None),
        receipt("r_5", model_id="early", ts_end=NOON_SECONDS - 1),
        receipt("r_6", model_id="late", ts_end=NOON_SECONDS + 3600),
    ]
    deliver(store, *facts)
    deliver(store, *facts)
    assert traffic_by_model(store, NOON, NOON + HOUR) == {
        "qwen3": ModelTraffic(3, 100.0),
        ":latest": ModelTraffic(1, None),
    }


def test_the_p95_is_that_of_the_models_own_receipts(store: Store) -> None:
    deliver(store, *[receipt(f"r_{number}", model_id="a", p95_ms=float(number)) for number in range(1, 101)])
    deliver(store, receipt("slow", model_id="b", p95_ms=9000.0))
    found = traffic_by_model(store, NOON, NOON + HOUR)
    assert list(found) == ["a", "b"]  # the busiest first
    assert found["a"].requests == 100
    assert found["a"].p95_ms is not None
    assert 94 <= found["a"].p95_ms <= 96
    assert found["b"] == ModelTraffic(1, 9000.0)
