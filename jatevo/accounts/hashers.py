"""Password hashing: argon2id with OWASP's lighter profile, with a cap on how many run at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from django.contrib.auth.hashers import Argon2PasswordHasher

from jatevo.web.capped_work import Cap

# A hash takes 19 MiB and one core for about 40 ms, so two at once keep two cores busy. Anyone can cause one.
AT_ONCE: Final = 2
HASHING: Final = Cap("Signing in", at_once=AT_ONCE, waiting=4, wait_seconds=2.0)

# Hashes run in threads of their own. The allocator keeps the memory of a hash for the thread that computed it,
# so a hash in each of the server's threads would keep 19 MiB for each of them.
_THREADS: Final = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hashing")


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
            return _THREADS.submit(super().encode, password, salt).result()

    def verify(self, password: str, encoded: str) -> bool:
        with HASHING.held():
            return _THREADS.submit(super().verify, password, encoded).result()
