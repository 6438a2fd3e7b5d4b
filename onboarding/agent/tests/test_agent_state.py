"""The state folder: modes, damage, the lock, a crash during a write."""

import os
from pathlib import Path

import pytest
from jatevo_agent.exits import CannotRun, ExitCode
from jatevo_agent.state import NodeState, StateFolder

STATE = NodeState(
    node_id="gpu-7", console="https://console.example", seed=bytes(range(32)), node_token="whsec_AA"
)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "deep" / "state")
    folder.prepare()
    return folder


def names_in(folder: StateFolder) -> list[str]:
    return [path.name for path in folder.path.iterdir()]


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_first_start_has_no_state(folder: StateFolder) -> None:
    assert folder.load() is None
    assert mode_of(folder.path) == 0o700


def test_what_is_saved_is_loaded(folder: StateFolder) -> None:
    folder.save(STATE)
    assert folder.load() == STATE
    assert mode_of(folder.path / "state.json") == 0o600
    assert names_in(folder) == ["state.json"]


def test_the_mode_does_not_depend_on_the_umask(folder: StateFolder) -> None:
    before = os.umask(0)
    try:
        folder.save(STATE)
    finally:
        os.umask(before)
    assert mode_of(folder.path / "state.json") == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_open_to_others_is_refused(folder: StateFolder, mode: int) -> None:
    folder.save(STATE)
    (folder.path / "state.json").chmod(mode)
    with pytest.raises(CannotRun, match="can be read by others: run `chmod 600 "):
        folder.load()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_change_is_refused(folder: StateFolder, mode: int) -> None:
    folder.path.chmod(mode)
    with pytest.raises(CannotRun, match="can be changed by others"):
        folder.prepare()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"version": 2}', '{"version": 1, "private_key": "AA=="}']
)
def test_a_damaged_file_is_not_overwritten(folder: StateFolder, text: str) -> None:
    path = folder.path / "state.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(CannotRun, match="is damaged"):
        folder.load()
    assert path.read_text() == text


def test_a_write_that_fails_leaves_the_old_state(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.save(STATE)

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(CannotRun, match="No space left on device"):
        folder.save(NodeState("gpu-7", "https://console.example", bytes(32)))
    monkeypatch.undo()
    assert folder.load() == STATE
    assert names_in(folder) == ["state.json"]


def test_one_agent_at_a_time(folder: StateFolder) -> None:
    second = StateFolder(folder.path)
    folder.lock()
    with pytest.raises(CannotRun, match="Another jatevo-agent is running") as caught:
        second.lock()
    assert caught.value.exit_code is ExitCode.TRY_LATER
    folder.unlock()
    second.lock()
    second.unlock()


def test_a_damaged_status_is_no_status(folder: StateFolder) -> None:
    assert folder.read_status() == {}
    folder.write_status({"last_heartbeat": {"ts": 1}})
    assert folder.read_status() == {"last_heartbeat": {"ts": 1}}
    (folder.path / "status.json").write_text("{")
    assert folder.read_status() == {}


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(CannotRun, match="cannot be used"):
        StateFolder(tmp_path / "state").prepare()


def test_secrets_are_not_in_the_repr() -> None:
    assert "whsec" not in repr(STATE)
    assert "seed" not in repr(STATE)
