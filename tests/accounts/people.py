"""Users for tests. Their passwords are hashed with cheap parameters, because argon2 is slow by design."""

from functools import cache

from django.contrib.auth.hashers import make_password

from jatevo.accounts.hashers import CappedArgon2
from jatevo.accounts.models import Org, Role, User

PASSWORD = "correct horse battery staple"


class QuickArgon2(CappedArgon2):
    """The console's hasher with cheap parameters."""

    time_cost = 1
    memory_cost = 64
    parallelism = 1


@cache
def _hashed() -> str:
    return make_password(PASSWORD)


def make_user(role: Role, *, org: Org | None = None, email: str = "", is_active: bool = True) -> User:
    """A person with the password PASSWORD. Unless given, the address contains the role."""
    return User.objects.create(
        email=email or f"{role.value}@example.org",
        name=role.label,
        role=role,
        org=org,
        password=_hashed(),
        is_active=is_active,
    )
