"""Shades match the shown figures, and the legend says where each begins."""

import pytest

from jatevo.overview.charts import Room, region_bar
from jatevo.overview.kpis import OTHER_REGIONS, Region
from jatevo.overview.shades import SHADES, scale_over


def test_a_large_fleet_whose_regions_are_much_alike_has_every_shade() -> None:
    values = [312.0 + 3 * number for number in range(40)]
    scale = scale_over(values)
    assert scale is not None
    assert {scale.shade(value) for value in values} == set(range(1, SHADES + 1))
    assert scale.legend(lambda bound: f"{bound:.0f}", "ms")[0].words == "under 330 ms"


def test_one_slow_hour_does_not_take_the_shades_from_the_others() -> None:
    scale = scale_over([100.0, 200.0, 300.0, 400.0, 90_000.0])
    assert scale is not None
    assert [scale.shade(value) for value in (100.0, 200.0, 300.0, 400.0, 90_000.0)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([437.0], ()),
        ([437.0, 437.0], ()),
        ([0, 0, 0], ()),
        ([0, 5], (5.0,)),
        ([100, 437], (430.0,)),
        ([412, 418], ()),
    ],
)
def test_values_that_are_alike_have_fewer_steps(values: list[float], bounds: tuple[float, ...]) -> None:
    scale = scale_over(values)
    assert scale is not None
    assert scale.bounds == bounds
    assert len(scale.legend(str)) == len(bounds) + 1
    assert all(1 <= scale.shade(value) <= SHADES for value in values)


def test_what_is_not_known_has_no_shade() -> None:
    assert scale_over([None, None]) is None
    assert scale_over([]) is None
    scale = scale_over([None, 3.0])
    assert scale is not None
    assert (scale.shade(None), scale.shade(3.0)) == (0, 1)


def test_two_steps_are_the_lightest_and_the_darkest() -> None:
    scale = scale_over([100.0, 500.0])
    assert scale is not None
    assert [(each.number, each.words) for each in scale.legend(lambda bound: f"{bound:.0f}", "ms")] == [
        (1, "under 500 ms"),
        (SHADES, "500 ms or more"),
    ]


def test_a_segment_says_its_region_and_value_where_there_is_room() -> None:
    bar = region_bar(
        [Region("eu", 300.0, 50), Region("ap-southeast", 80.0, 48), Region(OTHER_REGIONS, None, 2)],
        ["/a", "/b", ""],
        ["", "", "too few nodes"],
    )
    eu, asia, other = bar.segments
    assert (eu.name.words, eu.name.room, eu.value.words, eu.value.room) == (
        "eu",
        Room.ALL,
        "300 ms",
        Room.ALL,
    )
    assert (asia.name.words, asia.name.room) == ("ap-southeast", Room.ALL)
    assert (other.name.words, other.name.room, other.value.words, other.shade) == ("Other", Room.NONE, "—", 0)
    narrow = region_bar([Region("ap-southeast", 80.0, 20), Region("eu", 80.0, 80)], ["", ""], ["", ""])
    assert narrow.segments[0].name.room is Room.WIDE
