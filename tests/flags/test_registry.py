"""The feature flags of PRD §13."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import waffle
from django.core.cache import cache
from django.db import OperationalError, connection
from waffle.testutils import override_switch

from jatevo.flags.registry import DEFAULTS, Flag, enabled

pytestmark = pytest.mark.django_db
Switch = waffle.get_waffle_switch_model()


@contextmanager
def database_down() -> Iterator[None]:
    def refuse(*_: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with connection.execute_wrapper(refuse):
        yield


def test_defaults_are_those_of_the_prd() -> None:
    assert {flag.value: on for flag, on in DEFAULTS.items()} == {
        "enable_private_pools": False,
        "show_jtvo_estimates": True,
        "allow_anonymous_overview": True,
        "enable_signature_verify": True,
    }
    assert set(DEFAULTS) == set(Flag)


def test_migrations_make_a_switch_for_every_flag_at_its_default() -> None:
    assert dict(Switch.objects.values_list("name", "active")) == {f.value: on for f, on in DEFAULTS.items()}


@pytest.mark.parametrize("flag", list(Flag))
def test_the_switch_decides(flag: Flag) -> None:
    with override_switch(flag.value, active=not DEFAULTS[flag]):
        assert enabled(flag) is not DEFAULTS[flag]
    assert enabled(flag) is DEFAULTS[flag]


@pytest.mark.parametrize("flag", list(Flag))
def test_the_default_holds_without_a_row(flag: Flag) -> None:
    Switch.objects.filter(name=flag.value).delete()
    cache.clear()
    assert enabled(flag) is DEFAULTS[flag]


@pytest.mark.parametrize("flag", list(Flag))
def test_the_default_holds_while_the_database_is_down(flag: Flag) -> None:
    Switch.objects.filter(name=flag.value).update(active=not DEFAULTS[flag])
    cache.clear()
    with database_down():
        assert enabled(flag) is DEFAULTS[flag]
    assert enabled(flag) is not DEFAULTS[flag]
