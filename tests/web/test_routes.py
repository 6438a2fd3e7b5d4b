"""Addresses put together from their parts equal Django's own."""

from collections.abc import Iterator

import pytest
from django.urls import get_script_prefix, reverse, set_script_prefix

from jatevo.web.routes import path_to


@pytest.fixture
def mounted_below() -> Iterator[None]:
    before = get_script_prefix()
    set_script_prefix("/console/")
    yield
    set_script_prefix(before)


CASES = [
    ("nodes:detail", ["macbook-001"]),
    ("nodes:quarantine", ["a.b_c-1"]),
    ("onboarding:node_config", ["gpu-fra-17"]),
    ("receipts:detail", ["gpu-fra-17", "r_01:J8~KQ.x"]),
    ("earnings:item", ["gpu-fra-17", "sample-name-0"]),
    ("earnings:receipts", []),
]


@pytest.mark.parametrize(("route", "names"), CASES)
def test_a_path_is_the_one_that_django_gives(route: str, names: list[str]) -> None:
    assert path_to(route, *names) == reverse(route, args=names)


@pytest.mark.usefixtures("mounted_below")
def test_a_path_begins_with_the_prefix_of_the_request() -> None:
    assert path_to("nodes:detail", "macbook-001") == "/console/nodes/macbook-001/"


def test_what_has_a_meaning_in_an_address_is_quoted() -> None:
    assert path_to("nodes:detail", "a/b?c#d e") == "/nodes/a%2Fb%3Fc%23d%20e/"
