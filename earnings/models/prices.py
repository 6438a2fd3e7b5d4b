"""Rates, the JTVO estimate and policies: rows that hold from a date and never change.

An edit is a new row with a date in the future. Migration 0002 lets the database refuse every UPDATE, the
deletion of a row that already holds, and a new row that would hold from the past. Only while no receipt has
been itemised may rows hold from any date, so that a new network can be set up.
"""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now

from jatevo.wire.names import MAX_NAME_CHARACTERS

LEAST_NOTICE_MINUTES = 10  # a receipt's ts_end may lie five minutes ahead, so a rate must lie further ahead


class HoldsFrom(models.Model):
    """The part that all of these rows share."""

    id = models.BigAutoField(primary_key=True)
    holds_from = models.DateTimeField(help_text="UTC; at least ten minutes from now")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.CharField(max_length=320, editable=False)
    note = models.CharField(max_length=300, blank=True)

    class Meta:
        abstract = True


def _model_name() -> "models.CharField[str, str]":
    return models.CharField(
        "model",
        max_length=MAX_NAME_CHARACTERS,
        blank=True,
        help_text="the model's normal form, such as llama3.1-8b; empty for all models without a row of their own",
    )


class Rate(HoldsFrom):
    """US dollars per million tokens of a model. The row with model '' is the default."""

    model = _model_name()
    input_usd = models.DecimalField(max_digits=14, decimal_places=6)
    output_usd = models.DecimalField(max_digits=14, decimal_places=6)
    cache_hit_discount = models.DecimalField(
        max_digits=5, decimal_places=4, default=0, help_text="share of the input's price, 0 to 1"
    )

    class Meta:
        ordering = ["model", "-holds_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "holds_from"],
                name="rate_one_from_a_date",
                violation_error_message="This model already has a rate that holds from that moment.",
            ),
            models.CheckConstraint(
                condition=models.Q(input_usd__range=(0, 10_000), output_usd__range=(0, 10_000)),
                name="rate_in_range",
                violation_error_message="A rate lies between 0 and 10,000 US dollars per million tokens.",
            ),
            models.CheckConstraint(
                condition=models.Q(cache_hit_discount__range=(0, 1)),
                name="rate_discount_is_a_share",
                violation_error_message="The discount lies between 0 and 1.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model or 'default'} from {self.holds_from:%F %H:%M}"


class JtvoRate(HoldsFrom):
    """The estimate of JTVO per US dollar. A day counts with the row in force at its 00:00 UTC."""

    jtvo_per_usd = models.DecimalField("JTVO per USD", max_digits=20, decimal_places=8)
    source = models.CharField(max_length=200, help_text="where the figure comes from")

    class Meta:
        verbose_name = "JTVO rate"
        ordering = ["-holds_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["holds_from"],
                name="jtvo_one_from_a_date",
                violation_error_message="There is already an estimate that holds from that moment.",
            ),
            models.CheckConstraint(
                condition=models.Q(jtvo_per_usd__gt=0, jtvo_per_usd__lte=1_000_000_000),
                name="jtvo_in_range",
                violation_error_message="The estimate is above 0 and at most 1,000,000,000 JTVO per US dollar.",
            ),
            models.CheckConstraint(condition=~models.Q(source=""), name="jtvo_has_a_source"),
        ]

    def __str__(self) -> str:
        return f"{self.jtvo_per_usd} JTVO per USD from {self.holds_from:%F %H:%M}"


class PayoutSchedule(models.TextChoices):
    WEEKLY = "weekly", "Weekly"
    MONTHLY = "monthly", "Monthly"


class Policy(HoldsFrom):
    """What is paid and when, apart from prices."""

    require_dispatch = models.BooleanField(
        default=False, help_text="hold receipts that no gateway confirms, and exclude them after 7 days"
    )
    threshold_usd = models.DecimalField(
        max_digits=12, decimal_places=2, default=10, help_text="the least amount of a payout"
    )
    hold_days = models.PositiveSmallIntegerField(
        default=0, help_text="days that a final day waits in addition"
    )
    schedule = models.CharField(max_length=8, choices=PayoutSchedule.choices, default=PayoutSchedule.MONTHLY)
    schedule_day = models.PositiveSmallIntegerField(
        default=1, help_text="weekly: 0 (Monday) to 6; monthly: 1 to 28"
    )
    minimum_reputation = models.DecimalField(
        max_digits=5, decimal_places=2, default=50, validators=[MinValueValidator(0), MaxValueValidator(100)]
    )
    confirm_from_usd = models.DecimalField(
        max_digits=12,
        decimal_places=2,
        null=True,
        blank=True,
        default=1000,
        help_text="from this amount on a second admin confirms; empty: never because of the amount",
    )
    confirm_unconfirmed = models.BooleanField(
        default=True, help_text="a second admin confirms amounts that no gateway confirmed"
    )
    confirm_overrides = models.BooleanField(
        default=True, help_text="a second admin confirms where a failed rule is overridden"
    )

    class Meta:
        verbose_name_plural = "policies"
        ordering = ["-holds_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["holds_from"],
                name="policy_one_from_a_date",
                violation_error_message="There is already a policy that holds from that moment.",
            ),
            models.CheckConstraint(
                condition=models.Q(schedule="weekly", schedule_day__range=(0, 6))
                | models.Q(schedule="monthly", schedule_day__range=(1, 28)),
                name="policy_schedule_day_exists",
                violation_error_message="Weekly payouts have a day from 0 to 6, monthly ones from 1 to 28.",
            ),
            models.CheckConstraint(
                condition=models.Q(minimum_reputation__range=(0, 100), threshold_usd__range=(0, 1_000_000))
                & models.Q(hold_days__lte=365)
                & (models.Q(confirm_from_usd__isnull=True) | models.Q(confirm_from_usd__gte=0)),
                name="policy_in_range",
                violation_error_message="A value of this policy is out of range.",
            ),
        ]

    def __str__(self) -> str:
        return f"policy from {self.holds_from:%F %H:%M}"


class ModelLimit(HoldsFrom):
    """What a node can do at most with a model. The row with model '' is the default."""

    model = _model_name()
    output_per_second = models.DecimalField(
        max_digits=10, decimal_places=2, help_text="output tokens a second of one request"
    )
    context_tokens = models.PositiveIntegerField(help_text="input and output tokens of one request")

    class Meta:
        ordering = ["model", "-holds_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "holds_from"],
                name="model_limit_one_from_a_date",
                violation_error_message="This model already has limits that hold from that moment.",
            ),
            models.CheckConstraint(
                condition=models.Q(output_per_second__gt=0, context_tokens__gt=0),
                name="model_limit_in_range",
                violation_error_message="Limits are above 0.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model or 'default'} from {self.holds_from:%F %H:%M}"
