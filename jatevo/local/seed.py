"""The first users of an installation, and credentials.json with their passwords."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from jatevo.accounts.models import Org, Role, User
from jatevo.local.keys import write_private
from jatevo.local.problems import CannotStart

ORG_NAME = "Jatevo Demo"
PASSWORD_BYTES = 12


@dataclass(frozen=True)
class Login:
    role: Role
    user: User
    password: str
    current: bool  # False once the password was changed in the console


def seed_users(home: Path) -> list[Login]:
    """The three logins. Missing users are created, and passwords that were changed later are kept.

    If credentials.json is lost, the users get new passwords, because the old ones cannot be read.
    """
    path = home / "credentials.json"
    known = _read(path)
    wanted = {role: known.get(role) or _new(role) for role in Role}
    org, _ = Org.objects.get_or_create(name=ORG_NAME)
    if set(known) != set(wanted):
        write_private(path, json.dumps({str(role): entry for role, entry in wanted.items()}, indent=2) + "\n")
    path.chmod(0o600)
    return [_ensure(role, entry, org, reset=role not in known) for role, entry in wanted.items()]


def _read(path: Path) -> dict[Role, dict[str, str]]:
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text())
        return {
            role: {"email": entries[role]["email"], "password": entries[role]["password"]}
            for role in Role
            if role in entries
        }
    except (ValueError, TypeError, KeyError) as error:
        raise CannotStart(f"{path} is damaged: remove it and start again to get new passwords.") from error


def _new(role: Role) -> dict[str, str]:
    return {"email": f"{role}@jatevo.local", "password": secrets.token_urlsafe(PASSWORD_BYTES)}


def _ensure(role: Role, entry: dict[str, str], org: Org, *, reset: bool) -> Login:
    user = User.objects.filter(email__iexact=entry["email"]).first()
    if user is None:
        user = User.objects.create_user(
            entry["email"],
            entry["password"],
            role=role,
            org=None if role == Role.VIEWER else org,
        )
    elif reset:
        user.set_password(entry["password"])
        user.save(update_fields=["password"])
    return Login(role, user, entry["password"], user.check_password(entry["password"]))
