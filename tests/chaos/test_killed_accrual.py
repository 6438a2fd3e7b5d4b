"""After kill -9 of the accrual at random moments, the books are those of an accrual without a break, byte for byte.

JATEVO_CHAOS_ACCRUAL_KILLS is the number of kills (default 50). JATEVO_CHAOS_SEED repeats the moments of a run.
"""

import os
import random

import pytest

from tests.earnings.accrual import killing

KILLS = int(os.environ.get("JATEVO_CHAOS_ACCRUAL_KILLS", "50"))
RECEIPTS = 30_000


@pytest.mark.chaos
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(20 * KILLS + 600)
def test_a_killed_accrual_leaves_what_an_undisturbed_one_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    seed = os.environ.get("JATEVO_CHAOS_SEED") or str(random.SystemRandom().randrange(10**6))
    killing.prepare(receipts=RECEIPTS)
    seconds = killing.accrue_fresh()
    # on average the work is done after about half of the kills, and the rest hit the little that remains
    killed = killing.kill_and_restart(random.Random(seed), kills=KILLS, within=4 * seconds / KILLS)
    with capsys.disabled():
        print(f"\n{killed} of {KILLS} accruals killed in mid-work; seed {seed}; undisturbed: {seconds:.1f} s")
    assert killed > KILLS // 4
    assert killing.left_behind() == killing.left_behind(killing.FRESH)
