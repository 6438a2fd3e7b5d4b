"""Full collections of garbage stop every thread of a process, so they pass over what it has loaded."""

import subprocess
import sys

import pytest

MUCH_OF_DJANGO = 50_000  # objects


@pytest.mark.parametrize("application", ["jatevo.wsgi", "jatevo.lane.application"])
def test_what_an_application_has_loaded_is_collected_no_more(application: str) -> None:
    code = f"import gc, {application}; gc.collect(); print(gc.get_freeze_count(), len(gc.get_objects()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    frozen, collected = done.stdout.split()
    assert int(frozen) > MUCH_OF_DJANGO
    assert int(collected) < int(frozen) / 10
