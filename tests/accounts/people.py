"""Rows of people for tests; the password is hashed once, since argon2 is slow on purpose."""

from functools import cache

from django.contrib.auth.hashers import make_password

from jatevo.accounts.models import Org, Role, User

PASSWORD = "correct horse battery staple"


@cache
def _hashed() -> str:
    return make_password(PASSWORD)


def make_user(role: Role, *, org: Org | None = None, email: str = "", is_active: bool = True) -> User:
    """A person whose password is PASSWORD and whose address names the role unless given."""
    return User.objects.create(
        email=email or f"{role.value}@example.org",
        name=role.label,
        role=role,
        org=org,
        password=_hashed(),
        is_active=is_active,
    )
