"""An organisation with two operators, and a rival."""

from typing import Any

import pytest
from procrastinate.contrib.django.models import ProcrastinateJob

from earnings.tasks import mail_digest, mail_wallet_change
from jatevo.accounts.models import Org, Role, User
from tests.accounts.people import make_user


@pytest.fixture
def org(db: None) -> Org:
    return Org.objects.create(name="Alpine Compute")


@pytest.fixture
def rival(db: None) -> Org:
    return Org.objects.create(name="Rival")


@pytest.fixture
def owner(org: Org) -> User:
    return make_user(Role.OPERATOR, org=org, email="owner@example.org")


@pytest.fixture
def colleague(org: Org) -> User:
    return make_user(Role.OPERATOR, org=org, email="colleague@example.org")


@pytest.fixture
def admin(db: None) -> User:
    return make_user(Role.ADMIN)


def run_mails() -> int:
    """What the worker does with the mails that wait. Returns how many."""
    tasks: dict[str, Any] = {each.name: each for each in (mail_wallet_change, mail_digest)}
    jobs = ProcrastinateJob.objects.filter(task_name__in=tasks, status="todo").order_by("id")
    for job in jobs:
        tasks[job.task_name](**job.args)
    return len(jobs)
