"""The retention policy for ClickHouse and PostgreSQL.

`settings.RETENTION_DAYS` has the number of days. A rule says which data is deleted and how. Apps register
their rules with `register(…)` in a module `retention`; `rules()` finds them all. Partitions of ClickHouse and
of receipts are dropped once everything in them is old enough. Rows of other tables are deleted.

Data without a rule is kept for ever: audit rows; the identities of receipts, because a repeated
receipt must be refused at any time; forged receipts, which are evidence; nodes, their
transitions and exemptions; a node's first minute on record.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, connection, models
from django.utils.module_loading import autodiscover_modules
from psycopg import sql

from jatevo.metrics.transport import MetricsError

_BLOCKS_AT_ONCE = 2_000  # of 8 KiB; the part of a table that one statement covers


@dataclass(frozen=True)
class Dropped:
    """Something that was deleted, or would be in a dry run.

    In ClickHouse, `rows` includes repeats that have not been merged.
    """

    partition: str  # "" for single rows
    rows: int

    def __str__(self) -> str:
        rows = f"{self.rows:,} row{'' if self.rows == 1 else 's'}"
        return f"{self.partition} ({rows})" if self.partition else rows


@dataclass(frozen=True)
class Kept:
    """A partition that is old enough to be dropped, and why it is kept all the same."""

    partition: str
    reason: str

    def __str__(self) -> str:
        return f"{self.partition}: {self.reason}"


# Deletes what is entirely older than a moment, piece by piece. In a dry run (True), it only reports that.
Drop = Callable[[datetime, bool], Iterator[Dropped | Kept]]


@dataclass(frozen=True)
class RetentionRule:
    """`name` is the table, `kept` a key of settings.RETENTION_DAYS, and `drop` deletes the old data."""

    name: str
    kept: str
    drop: Drop

    @property
    def keep_days(self) -> int:
        days: int = settings.RETENTION_DAYS[self.kept]
        return days

    def before(self, at: datetime) -> datetime:
        """Data that is entirely older than this is deleted."""
        return at - timedelta(days=self.keep_days)


@dataclass(frozen=True)
class RuleOutcome:
    """The outcome of one rule. `problem` says why the rest is left for the next run."""

    rule: RetentionRule
    dropped: tuple[Dropped, ...]
    problem: str = ""
    kept: tuple[Kept, ...] = ()


_rules: dict[str, RetentionRule] = {}


def register(*rules: RetentionRule) -> None:
    """Adds rules to the policy. A rule replaces an earlier one of the same name."""
    _rules.update({rule.name: rule for rule in rules})


def rules() -> list[RetentionRule]:
    """All rules, ordered by name."""
    autodiscover_modules("retention")
    return [_rules[name] for name in sorted(_rules)]


def apply(*, at: datetime, dry_run: bool = False) -> Iterator[RuleOutcome]:
    """Applies all rules. It can be repeated, interrupted, and run by two processes at once.

    If a store does not answer, only its rules fail. The others are still applied.
    """
    for rule in rules():
        dropped: list[Dropped] = []
        kept: list[Kept] = []
        problem = ""
        try:
            for each in rule.drop(rule.before(at), dry_run):
                kept.append(each) if isinstance(each, Kept) else dropped.append(each)
        except (MetricsError, DatabaseError) as error:
            problem = str(error).strip() or type(error).__name__
        yield RuleOutcome(rule, tuple(dropped), problem, tuple(kept))


def old_rows(model: type[models.Model], field: str) -> Drop:
    """Deletes a model's rows whose `field`, a time or a date, is older. No other table may refer to them.

    Each statement covers one part of the table, so that it needs no index and locks nothing for long.
    """
    table = model._meta.db_table
    column = model._meta.get_field(field)
    if not isinstance(column, models.DateField):
        raise TypeError(f"{table}.{field} is neither a time nor a date")
    is_time = isinstance(column, models.DateTimeField)

    def drop(before: datetime, dry_run: bool) -> Iterator[Dropped]:
        limit = before if is_time else before.date()
        old = model._default_manager.filter(**{f"{field}__lt": limit})
        rows = old.count() if dry_run else _delete(table, column.column or field, limit)
        if rows:
            yield Dropped("", rows)

    return drop


def _delete(table: str, column: str, limit: date) -> int:
    statement = sql.SQL("DELETE FROM {} WHERE ctid >= %s::tid AND ctid < %s::tid AND {} < %s").format(
        sql.Identifier(table), sql.Identifier(column)
    )
    deleted = 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::int", [table])
        ((blocks,),) = cursor.fetchall()
        for block in range(0, blocks, _BLOCKS_AT_ONCE):
            cursor.execute(statement, [f"({block},0)", f"({block + _BLOCKS_AT_ONCE},0)", limit])
            deleted += cursor.rowcount
    return deleted
