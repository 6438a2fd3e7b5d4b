"""What GET /v1/earnings and below answer. Amounts are decimal strings with every digit."""

from typing import Any

from rest_framework import serializers

from earnings.figures.listed import Stage

_AMOUNT = r"^-?[0-9]+\.[0-9]{2,}$"


def usd(help_text: str = "", *, allow_null: bool = False) -> serializers.RegexField:
    return serializers.RegexField(_AMOUNT, help_text=help_text, allow_null=allow_null)


class EligibilityAnswer(serializers.Serializer[Any]):
    rule = serializers.CharField()
    ok = serializers.BooleanField()
    detail = serializers.CharField(help_text="with the numbers and, where it fails, what to do")


class PeriodAnswer(serializers.Serializer[Any]):
    """A UTC day with receipts."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField(help_text="00:00 UTC of the next day, which is not included")
    fees_usd = usd("what is neither held nor excluded")
    jtvo_est = usd("null without a rate, and while estimates are not shown", allow_null=True)
    jtvo_rate = usd("JTVO per US dollar at 00:00 UTC of the day", allow_null=True)
    receipts = serializers.IntegerField(help_text="all accepted ones, also held and excluded")
    state = serializers.ChoiceField(
        choices=[each.value for each in Stage],
        help_text="the first of these of which the day has a part: `running` (not final), `held`, `accrued`"
        " (available, also a final day with nothing to pay), `ready`, `exported`",
    )
    final = serializers.BooleanField(help_text="later decisions are movements of their own date")


class NodeEarningsAnswer(serializers.Serializer[Any]):
    """GET /v1/earnings/{node_id}."""

    node_id = serializers.CharField()
    fees_usd = usd("what is neither held nor excluded, to date, running days included")
    jtvo_est = usd(
        "the estimate of the fees of days that have a rate; null if none has, and while estimates are not shown",
        allow_null=True,
    )
    held_usd = usd("what is held, to date")
    next_payout = serializers.DateTimeField(help_text="when the next payout is due")
    payout_ready = serializers.BooleanField(help_text="whether an amount is marked for the next payout")
    threshold_usd = usd("the least amount of a payout")
    eligibility = EligibilityAnswer(many=True)
    periods = PeriodAnswer(many=True)
    next = serializers.CharField(allow_null=True, help_text="the cursor of earlier periods")


class StepAnswer(serializers.Serializer[Any]):
    """An hour, day or month of UTC with receipts."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField(help_text="not included")
    node_id = serializers.CharField(allow_null=True, help_text="null unless split by node")
    model = serializers.CharField(allow_null=True, help_text="null unless split by model; in normal form")
    fees_usd = usd("what is neither held nor excluded")
    held_usd = usd("what is held")
    jtvo_est = usd("null without a rate, and while estimates are not shown", allow_null=True)
    jtvo_rate = usd("JTVO per US dollar; null for a month, whose days have their own", allow_null=True)
    receipts = serializers.IntegerField(help_text="all accepted ones, also held and excluded")
    final = serializers.BooleanField()


STEP_PAGE_FIELDS: dict[str, Any] = {
    "from": serializers.DateField(help_text="the first UTC day that the steps cover"),
    "to": serializers.DateField(help_text="the last UTC day, included"),
    "results": StepAnswer(many=True),
    "next": serializers.CharField(allow_null=True),
}
