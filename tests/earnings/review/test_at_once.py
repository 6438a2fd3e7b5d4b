"""Two admins who decide a dispute at once: one decision, one record of it, and the slower one is told."""

import pytest
from django.utils import timezone

from earnings.models import HeldItem
from earnings.review.disputes import DisputeOver, settle
from jatevo.accounts.models import Org, Role
from jatevo.audit.models import AuditEvent
from tests.accounts.people import make_user
from tests.earnings.payouts.test_concurrency import together
from tests.earnings.review.test_review_pages import dispute
from tests.earnings.rows import make_rate

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_dispute_is_decided_once(db: None) -> None:
    make_rate()
    sides = dispute(Org.objects.create(name="Alpine Compute"), Org.objects.create(name="Rival"))
    admins = [make_user(Role.ADMIN), make_user(Role.ADMIN, email="second@example.org")]
    results = together(
        *(
            lambda by=by, side=side: settle(
                request_id="r_1", winner=side, by=by, reason="their logs agree", at=timezone.now()
            )
            for by, side in zip(admins * 3, sides * 3, strict=True)
        )
    )
    assert [each for each in results if not isinstance(each, DisputeOver)] == [2]
    decided = AuditEvent.objects.filter(verb__in=["earnings.release", "earnings.exclude"])
    assert sorted(decided.values_list("verb", flat=True)) == ["earnings.exclude", "earnings.release"]
    assert not HeldItem.objects.exists()
