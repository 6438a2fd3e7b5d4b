import os
import subprocess
import sys
from pathlib import Path

import pytest

BASE_DIR = Path(__file__).parents[1]
PASSES, SKIPS = "def test_one(): pass\n", "import pytest\n@pytest.mark.skip\ndef test_other(): pass\n"


def exit_code(folder: Path, *, workers: int, ci: str) -> int:
    """The exit code of a separate run over the folder's files, with this plugin and that of workers."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"CI": ci, "PYTHONPATH": str(BASE_DIR), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, f"--rootdir={folder}", str(folder)]
    command += ["-p", "tests.skips", "-p", "xdist", "-n", str(workers)]
    return subprocess.run(command, cwd=BASE_DIR, env=env, capture_output=True).returncode


@pytest.mark.parametrize("workers", [0, 2])
def test_a_skip_fails_the_run_only_in_ci_with_and_without_workers(workers: int, tmp_path: Path) -> None:
    (tmp_path / "test_skips.py").write_text(PASSES + SKIPS)
    assert exit_code(tmp_path, workers=workers, ci="true") == 1
    assert exit_code(tmp_path, workers=workers, ci="") == 0
