"""The newest verdicts on receipts, and what they say in words."""

from collections.abc import Iterable
from datetime import date

from earnings.models import Verdict
from earnings.rules.payability import Judged
from earnings.rules.verdicts import Cause, PayRule, VerdictState
from jatevo.web.postgresql.replica import reading_connection
from jatevo.web.postgresql.statements import fetch

_COLUMNS = [field.attname for field in Verdict._meta.concrete_fields]
# For each receipt by itself, so that of the partitions only its month's is looked at. PostgreSQL is not to see how many
# there are, or it would plan anew each time.
_NEWEST = f"""
SELECT newest.*
FROM unnest((SELECT %s::date[]), (SELECT %s::bigint[])) AS receipt (day, id), LATERAL (
    SELECT {", ".join(_COLUMNS)} FROM earnings_verdict AS verdict
    WHERE verdict.day = receipt.day AND verdict.receipt_id = receipt.id
    ORDER BY verdict.id DESC LIMIT 1
) AS newest
"""  # noqa: S608 - the columns of a model


def newest_verdicts(receipts: Iterable[tuple[date, int]]) -> dict[int, Verdict]:
    """The verdict that holds for each receipt, by receipt id. One query. `date` is the item's day."""
    keys = list(receipts)
    if not keys:
        return {}
    server = reading_connection()
    rows = fetch(_NEWEST, [[day for day, _ in keys], [number for _, number in keys]], on=server)
    verdicts = [Verdict.from_db(server.alias, _COLUMNS, row) for row in rows]
    return {verdict.receipt_id: verdict for verdict in verdicts}


def sentence_of(verdict: Verdict) -> str:
    """The verdict in words, from its own numbers. A verdict without them is told by its cause."""
    if verdict.rule and not verdict.actor and not verdict.numbers:
        return f"{cause_label(verdict.rule, verdict.cause)}."
    judged = Judged(
        VerdictState(verdict.state),
        verdict.rule,
        verdict.cause,
        verdict.confirmed,
        verdict.numbers or {},
        verdict.actor,
        verdict.reason,
    )
    return judged.sentence


def cause_label(rule: str, cause: str) -> str:
    """The cause in a few words, or its rule where a verdict has no cause of its own."""
    if cause:
        return Cause(cause).label
    return PayRule(rule).label if rule else ""
