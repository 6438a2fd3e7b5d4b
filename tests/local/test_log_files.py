import logging
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

from jatevo.local import console_log
from jatevo.local.log_files import MAX_LOG_BYTES, rotate, rotate_all

NOISY = "import sys\nfor line in sys.stdin: sys.stdout.write(line * 1000); sys.stdout.flush()"


def sizes(folder: Path) -> dict[str, int]:
    return {each.name: each.stat().st_size for each in folder.iterdir()}


def test_log_of_a_running_process_is_emptied_in_place_and_goes_on_at_its_start(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-c", NOISY], stdin=subprocess.PIPE, stdout=output, text=True
        )
    assert child.stdin
    for _ in range(6):
        child.stdin.write("x" * 999 + "\n")
    child.stdin.flush()
    while log.stat().st_size < 6_000_000:
        assert child.poll() is None
    rotate_all(tmp_path)
    assert sizes(tmp_path) == {"agent.log": 0, "agent.log.1": 6_000_000}
    child.stdin.write("y" * 9 + "\n")
    child.stdin.close()
    child.wait()
    assert log.read_bytes() == (b"y" * 9 + b"\n") * 1000, "no hole where the old end was"
    rotate_all(tmp_path)
    assert sizes(tmp_path) == {"agent.log": 10_000, "agent.log.1": 6_000_000}


def test_folder_is_bounded_however_much_is_logged(tmp_path: Path) -> None:
    with console_log.to_file(tmp_path / "console.log"):
        for number in range(30):
            logging.getLogger("test").warning("x" * 900_000)
            rotate_all(tmp_path)
            assert sum(sizes(tmp_path).values()) < 2 * (MAX_LOG_BYTES + 1_000_000), number


def test_full_disk_keeps_nothing_rather_than_filling_up(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    with mock.patch.object(shutil, "copyfile", side_effect=OSError("no space left")):
        rotate_all(tmp_path)
    assert (tmp_path / "console.log").stat().st_size == 0


def test_small_and_missing_logs_are_not_rotated(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_text("one line\n")
    rotate(tmp_path / "missing.log")
    rotate_all(tmp_path)
    assert sizes(tmp_path) == {"console.log": 9}
