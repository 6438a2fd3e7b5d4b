"""Invented prices for the demo: rates of its models, a default, limits, and an estimate of JTVO.

They are written at the first start, before any receipt is itemised, so that they may hold from the past. An installation
without the demo has no prices until an admin adds some.
"""

from datetime import UTC, datetime
from decimal import Decimal

from django.db import transaction

from earnings.models import JtvoRate, ModelLimit, Rate
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
LIMITS = {"llama3.1-8b": ("400", 131_072), "llama3.1-70b": ("250", 131_072)}
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
        record("earnings.prices_seeded", by=SYSTEM, subject_kind="rate", subject_id="demo", reason=NOTE)
    return True
