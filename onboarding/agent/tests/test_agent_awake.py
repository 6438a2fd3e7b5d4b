"""A Mac is kept awake while the agent serves. The program is a stand-in: this is no Mac."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

import pytest
from jatevo_agent.awake import KeptAwake


@pytest.fixture
def caffeinate(tmp_path: Path) -> Path:
    """A program that writes down its arguments and process, and stays until it is ended."""
    program = tmp_path / "caffeinate"
    program.write_text(f'#!/bin/sh\necho "$$ $@" >{tmp_path}/said\nexec sleep 60\n')
    program.chmod(0o755)
    os.mkfifo(tmp_path / "said")
    return program


def test_caffeinate_watches_the_agents_process_and_ends_with_it(caffeinate: Path) -> None:
    awake = KeptAwake("darwin", caffeinate)
    awake.start()
    pid, *arguments = (caffeinate.parent / "said").read_text().split()
    assert arguments == ["-i", "-w", str(os.getpid())]
    awake.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_other_systems_start_nothing(tmp_path: Path) -> None:
    awake = KeptAwake("linux", tmp_path / "none")
    awake.start()
    awake.stop()


def test_a_mac_without_it_is_warned_about(tmp_path: Path, log: StringIO) -> None:
    awake = KeptAwake("darwin", tmp_path / "none")
    awake.start()
    awake.stop()
    assert "this Mac may go to sleep" in log.getvalue()
