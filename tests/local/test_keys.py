import base64
import json
import stat
from pathlib import Path

import pytest

from jatevo.local import keys
from jatevo.local.problems import CannotStart


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_private_random_and_kept(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = keys.load_or_make(tmp_path / "a")
    assert mode(tmp_path / "a" / "secrets.json") == 0o600
    assert len(base64.b64decode(first["JATEVO_MASTER_KEY"], validate=True)) == 32
    assert keys.load_or_make(tmp_path / "a") == first
    assert not set(first.values()) & set(keys.load_or_make(tmp_path / "b").values())


def test_a_secret_that_came_later_is_added_and_the_others_stay(tmp_path: Path) -> None:
    first = keys.load_or_make(tmp_path)
    del first["JATEVO_SECRET_KEY"]
    (tmp_path / "secrets.json").write_text(json.dumps(first))
    second = keys.load_or_make(tmp_path)
    assert second["JATEVO_MASTER_KEY"] == first["JATEVO_MASTER_KEY"]
    assert second["JATEVO_SECRET_KEY"]


def test_secrets_that_others_could_read_are_closed(tmp_path: Path) -> None:
    keys.load_or_make(tmp_path)
    (tmp_path / "secrets.json").chmod(0o644)
    keys.load_or_make(tmp_path)
    assert mode(tmp_path / "secrets.json") == 0o600


@pytest.mark.parametrize("damaged", ["", "{", "[1]", "null"])
def test_damaged_secrets_are_never_replaced(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(damaged)
    with pytest.raises(CannotStart, match="restore it"):
        keys.load_or_make(tmp_path)
    assert path.read_text() == damaged
