"""Fixtures of the tests of the Docs."""

from tests.web.in_chromium import (  # noqa: F401 - fixtures
    browser,
    complaints,
    context,
    flags_without_a_database,
    open_page,
    page,
)
