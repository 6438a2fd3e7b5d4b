"""Invented prices for the demo (rates of its models, a default, limits, an estimate of JTVO, a low payout threshold),
and its organisation's wallet.

Prices are written at the first start, before any receipt is itemised, so that they may hold from the past. An
installation without the demo has none until an admin adds some.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import transaction

from earnings.models import Chain, JtvoRate, ModelLimit, Policy, Rate, Wallet, WalletState
from earnings.rules.wallets import check_address
from jatevo.accounts.models import Org, User
from jatevo.audit.record import SYSTEM, record

HOLD_FROM = datetime(2025, 1, 1, tzinfo=UTC)
NOTE = "invented for the demo"
# Model: US dollars per million input and output tokens. '' is the default.
RATES = {
    "": ("0.10", "0.40"),
    "llama3.1-8b": ("0.05", "0.08"),
    "qwen2.5-7b": ("0.05", "0.10"),
    "mistral-nemo-12b": ("0.08", "0.14"),
    "qwen2.5-32b": ("0.18", "0.45"),
    "llama3.1-70b": ("0.35", "0.70"),
    "mixtral-8x7b": ("0.24", "0.60"),
}
CACHE_HIT_DISCOUNT = Decimal("0.5")
# Model: output tokens a second of one request, and the context.
LIMITS = {"llama3.1-8b": ("440", 131_072), "llama3.1-70b": ("430", 131_072)}
THRESHOLD_USD = Decimal("0.25")  # the demo earns a few dollars in two weeks
# nobody has the key of this address
WALLET = "9hpGhXDngTrKFB6Wc21HnoCJGgdzKWqFLvF4dKbXsc9P"
WALLET_CONFIRMED_DAYS_AGO = 10
JTVO_PER_USD = Decimal("12.5")


def seed_prices() -> bool:
    """Adds the prices if there are none at all. Returns whether it did."""
    with transaction.atomic():
        if Rate.objects.exists() or JtvoRate.objects.exists():
            return False
        for model, (input_usd, output_usd) in RATES.items():
            Rate.objects.create(
                model=model,
                input_usd=Decimal(input_usd),
                output_usd=Decimal(output_usd),
                cache_hit_discount=CACHE_HIT_DISCOUNT,
                holds_from=HOLD_FROM,
                created_by=SYSTEM.id,
                note=NOTE,
            )
        for model, (per_second, context) in LIMITS.items():
            ModelLimit.objects.create(
                model=model,
                output_per_second=Decimal(per_second),
                context_tokens=context,
                holds_from=HOLD_FROM,
                created_by=SYSTEM.id,
                note=NOTE,
            )
        JtvoRate.objects.create(
            jtvo_per_usd=JTVO_PER_USD, source=NOTE, holds_from=HOLD_FROM, created_by=SYSTEM.id, note=NOTE
        )
        Policy.objects.create(
            threshold_usd=THRESHOLD_USD, holds_from=HOLD_FROM, created_by=SYSTEM.id, note=NOTE
        )
        record("earnings.prices_seeded", by=SYSTEM, subject_kind="rate", subject_id="demo", reason=NOTE)
    return True


def invent_wallet(org: Org, *, by: User, at: datetime) -> bool:
    """Gives the organisation a wallet that was confirmed some days ago, if it has none. Returns whether it did."""
    with transaction.atomic():
        if Wallet.objects.filter(org=org).exists():
            return False
        confirmed_at = at - timedelta(days=WALLET_CONFIRMED_DAYS_AGO)
        wallet = Wallet.objects.create(
            org=org,
            chain=Chain.SOLANA,
            address=check_address(Chain.SOLANA, WALLET),
            state=WalletState.CONFIRMED,
            set_at=confirmed_at,
            set_by=by.email,
            confirmed_at=confirmed_at,
            confirmed_by=by.email,
            payouts_from=confirmed_at + timedelta(hours=72),
            reason=NOTE,
        )
        record(
            "wallet.invented",
            by=SYSTEM,
            subject_kind="wallet",
            subject_id=str(wallet.pk),
            org_id=org.pk,
            reason=NOTE,
        )
    return True
