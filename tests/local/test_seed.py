import json
import stat
from pathlib import Path

import pytest

from jatevo.accounts.models import Role, User
from jatevo.local.problems import CannotStart
from jatevo.local.seed import seed_users

pytestmark = pytest.mark.django_db


def credentials(home: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((home / "credentials.json").read_text())
    return found


def test_three_users_with_the_passwords_of_a_private_file(tmp_path: Path) -> None:
    seed_users(tmp_path)
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600
    written = credentials(tmp_path)
    assert list(written) == ["admin", "operator", "viewer"]
    for role, login in written.items():
        user = User.objects.get(email=f"{role}@jatevo.local")
        assert user.role == role
        assert login == {"email": user.email, "password": login["password"]}
        assert user.check_password(login["password"])
    assert User.objects.get(role=Role.OPERATOR).org is not None


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    seed_users(tmp_path)
    before = credentials(tmp_path), list(User.objects.order_by("email").values())
    logins = seed_users(tmp_path)
    assert (credentials(tmp_path), list(User.objects.order_by("email").values())) == before
    assert all(login.current for login in logins)


def test_a_password_changed_in_the_console_is_kept_and_not_shown_as_valid(tmp_path: Path) -> None:
    seed_users(tmp_path)
    viewer = User.objects.get(role=Role.VIEWER)
    viewer.set_password("chosen by a person")
    viewer.save()
    logins = {login.role: login.current for login in seed_users(tmp_path)}
    assert logins == {Role.ADMIN: True, Role.OPERATOR: True, Role.VIEWER: False}
    viewer.refresh_from_db()
    assert viewer.check_password("chosen by a person")


def test_a_lost_file_is_created_again_with_working_passwords(tmp_path: Path) -> None:
    seed_users(tmp_path)
    before = credentials(tmp_path)
    (tmp_path / "credentials.json").unlink()
    assert all(login.current for login in seed_users(tmp_path))
    assert credentials(tmp_path)["admin"]["password"] != before["admin"]["password"]
    assert User.objects.count() == 3


def test_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"admin": {}}')
    with pytest.raises(CannotStart, match="remove it"):
        seed_users(tmp_path)
