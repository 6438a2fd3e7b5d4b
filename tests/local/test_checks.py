import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from jatevo.local import checks
from jatevo.local.problems import CannotStart

Usage = namedtuple("Usage", "total used free")


def one_sentence(error: pytest.ExceptionInfo[CannotStart]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_old_python_is_refused() -> None:
    with pytest.raises(CannotStart) as refused:
        checks.python_is_new_enough((3, 10))
    assert "3.10" in one_sentence(refused)
    checks.python_is_new_enough((3, 11))


def test_taken_port_is_refused_with_another_one_proposed() -> None:
    with checks.claim_port(0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(CannotStart) as refused:
            checks.claim_port(port)
    assert f"Port {port} is taken" in one_sentence(refused)
    assert f"PORT={port + 1}" in str(refused.value)


def test_port_is_free_again_after_its_console_has_gone() -> None:
    with checks.claim_port(0) as first:
        port = first.getsockname()[1]
        first.listen()
    with checks.claim_port(port) as second:
        assert second.getsockname() == ("127.0.0.1", port)


@pytest.mark.parametrize("text", ["http", "-1", "65536", "80.5", "٨٠", " 80"])
def test_port_must_be_a_number(text: str) -> None:
    with pytest.raises(CannotStart) as refused:
        checks.wanted_port(text)
    assert "PORT" in one_sentence(refused)


def test_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 499_999_999))
    with pytest.raises(CannotStart) as refused:
        checks.home_is_usable(tmp_path)
    assert "Only 499 MB are free" in one_sentence(refused)


def test_just_enough_disk_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 500_000_000))
    checks.home_is_usable(tmp_path / "new" / "home")
    assert (tmp_path / "new" / "home").is_dir()


def test_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(CannotStart) as refused:
        checks.home_is_usable(tmp_path / "home")
    assert "JATEVO_HOME" in one_sentence(refused)
