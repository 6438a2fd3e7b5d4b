"""Password hashing: argon2id with OWASP's lighter profile, with a cap on how many run at once."""

from typing import Final

from django.contrib.auth.hashers import Argon2PasswordHasher

from jatevo.web.capped_work import Cap

# A hash takes 19 MiB and one core for about 40 ms, so two at once keep two cores busy. Anybody can cause one.
HASHING: Final = Cap("Signing in", at_once=2, waiting=4, wait_seconds=2.0)


class CappedArgon2(Argon2PasswordHasher):
    """OWASP's second profile (m=19 MiB, t=2, p=1) in place of Django's 100 MiB and 8 lanes.

    All hashing and checking of passwords uses this class, so the cap always applies. Older hashes still
    verify, and Django replaces them when their owner signs in. Raises ApiError 503 over the cap.
    """

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        with HASHING.held():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        with HASHING.held():
            return super().verify(password, encoded)
