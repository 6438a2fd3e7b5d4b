"""The agent runs on the Python that operators have: 3.9 and later."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent
OLDEST = "3.9"


def oldest_python_of(path: Path) -> subprocess.CompletedProcess[str]:
    """Vermin's judgement: exit code 0 if the code needs no newer Python than the oldest."""
    vermin = Path(sys.executable).with_name("vermin")
    command = [str(vermin), f"-t={OLDEST}-", "--no-tips", "--violations", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_no_syntax_and_no_library_call_needs_a_newer_python() -> None:
    pytest.importorskip("vermin", reason="only in the console's environment")
    judged = oldest_python_of(PACKAGE)
    assert judged.returncode == 0, judged.stdout


def test_a_newer_call_would_be_found(tmp_path: Path) -> None:
    pytest.importorskip("vermin", reason="only in the console's environment")
    (tmp_path / "newer.py").write_text("from datetime import UTC\n")
    assert oldest_python_of(tmp_path).returncode != 0


def test_the_package_says_so() -> None:
    project = (PACKAGE / "pyproject.toml").read_text()
    assert re.search(rf'^requires-python = ">={re.escape(OLDEST)}"$', project, re.MULTILINE)
