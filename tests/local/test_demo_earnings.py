"""The demo's prices and wallet: added once, and never in place of somebody's own."""

from decimal import Decimal

import pytest
from django.utils import timezone

from earnings.models import JtvoRate, ModelLimit, Rate, Wallet
from jatevo.local.demo import NODES
from jatevo.local.demo_earnings import RATES, invent_wallet, seed_prices
from jatevo.wire.names import normal_model
from tests.factories import OrgFactory, UserFactory

pytestmark = pytest.mark.django_db


def test_every_model_of_the_demo_has_a_rate_and_there_is_a_default() -> None:
    assert {normal_model(model) for node in NODES for model in node.models} | {""} == set(RATES)


def test_prices_are_added_once() -> None:
    assert seed_prices()
    assert not seed_prices()
    assert Rate.objects.count() == len(RATES)
    assert Rate.objects.get(model="").output_usd == Decimal("0.40")
    assert JtvoRate.objects.count() == 1
    assert ModelLimit.objects.filter(model="").count() == 1


def test_prices_that_an_admin_set_are_left_alone() -> None:
    Rate.objects.create(
        model="", input_usd=1, output_usd=1, holds_from="2026-01-01T00:00:00Z", created_by="a@example.org"
    )
    assert not seed_prices()
    assert Rate.objects.count() == 1


def test_the_demos_wallet_is_ready_for_payouts_and_is_made_once() -> None:
    org = OrgFactory.create()
    person = UserFactory.create(org=org)
    at = timezone.now()
    assert invent_wallet(org, by=person, at=at)
    assert not invent_wallet(org, by=person, at=at)
    wallet = Wallet.objects.get()
    assert wallet.payouts_from is not None
    assert wallet.payouts_from < at
