"""The parameters that narrow earnings, which the page, the exports and the API share.

`org`, `node`, `model`, `from`, `to` (UTC days, both included) narrow every figure; `state`, `rule`, `cause`
and `line` narrow receipts; `step` and `by` choose how a series is cut. The same parameters always mean the
same receipts, so a file that is linked from a figure sums to it.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from urllib.parse import quote

from earnings.figures.scope import NotYours, Scope, scope_for
from earnings.figures.series import By, Step
from earnings.models import VerdictState
from earnings.rules.verdicts import Cause, PayRule
from jatevo.accounts.models import Org, Role, User
from jatevo.web.query_values import EARLIEST, BadValue, moment, whole_number
from jatevo.wire.names import name_problem

NARROWING = ("org", "node", "model", "from", "to")
OF_RECEIPTS = ("state", "rule", "cause", "line")
DEFAULT_DAYS = 30
# A chart of more steps than this cannot be read.
MOST_STEPS = {Step.HOUR: 8, Step.DAY: 400, Step.WEEK: 1100, Step.MONTH: 3700}  # in days


@dataclass(frozen=True)
class EarningsQuery:
    """What was asked for. `problems` has what is wrong with each parameter; those are as if they were absent.

    `given` are the sound parameters, for links that keep them.
    """

    scope: Scope
    org: Org | None
    first: date
    last: date
    step: Step
    by: By
    state: str = ""
    rule: str = ""
    cause: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def suffix(self, **changes: str | int | date | None) -> str:
        """The query string with some parameters changed, with its question mark. None and '' remove one.

        `from` is a keyword of the language: write `from_`.
        """
        parts = dict(self._parts)  # a page has hundreds of links, so what they share is quoted once
        for name, value in changes.items():
            name = name.rstrip("_")
            parts[name] = "" if value is None or value == "" else _part(name, value)
        query = "&".join(part for part in parts.values() if part)
        return f"?{query}" if query else ""

    @cached_property
    def _parts(self) -> dict[str, str]:
        return {name: _part(name, value) for name, value in self.given.items() if value != ""}


@lru_cache(maxsize=4096)  # a page has hundreds of links with the same few values
def _part(name: str, value: str | int | date) -> str:
    return f"{name}={quote(str(value), safe=',:')}"


def read_query(params: Mapping[str, str], user: object, *, at: datetime) -> EarningsQuery:
    """What the parameters ask for, within what the person may see. Without days: the last 30.

    Raises NotYours for an organisation that the person may not see.
    """
    given: dict[str, str] = {}
    problems: dict[str, str] = {}

    def text(name: str) -> str:
        return params.get(name, "").strip()

    def chosen(
        name: str, choices: type[Step] | type[By] | type[VerdictState] | type[PayRule] | type[Cause]
    ) -> str:
        value = text(name)
        if value and value not in [str(each.value) for each in choices]:
            problems[name] = "one of " + ", ".join(str(each.value) for each in choices)
            return ""
        if value:
            given[name] = value
        return value

    org = _org(text("org"), user)
    if org is not None and text("org"):
        given["org"] = str(org.pk)
    named: dict[str, str] = {}
    for name in ("node", "model"):
        value = text(name)
        if value and (problem := name_problem(value)):
            problems[name] = problem
        elif value:
            named[name] = given[name] = value
    today = at.astimezone(UTC).date()
    step = Step(chosen("step", Step) or Step.DAY)
    first, last = _days(text("from"), text("to"), today, step, given, problems)
    by = By(chosen("by", By) or By.ALL)
    state, rule, cause = (
        chosen("state", VerdictState), chosen("rule", PayRule), chosen("cause", Cause)
    )  # fmt: skip
    scope = scope_for(
        user, org=org, node_id=named.get("node"), model=named.get("model"), first=first, last=last
    )
    if line := text("line"):
        try:
            number = whole_number(line, least=1, most=10**12 - 1)
            given["line"] = line
            scope = Scope(scope.org_id, scope.node_id, scope.model, None, None, number)
        except BadValue as error:
            problems["line"] = str(error)
    return EarningsQuery(scope, org, first, last, step, by, state, rule, cause, given, problems)


def _org(text: str, user: object) -> Org | None:
    """The organisation asked for; an operator's own without asking; None for an admin's whole network."""
    is_admin = isinstance(user, User) and user.role == Role.ADMIN
    if not text:
        return None if is_admin or not isinstance(user, User) else user.org
    try:
        org = Org.objects.filter(pk=uuid.UUID(text)).first()
    except ValueError:
        org = None
    if org is None:
        raise NotYours
    return org


def _days(
    first_text: str,
    last_text: str,
    today: date,
    step: Step,
    given: dict[str, str],
    problems: dict[str, str],
) -> tuple[date, date]:
    """The first and the last day. One without the other reaches to today, or 30 days back."""
    most = timedelta(days=MOST_STEPS[step] - 1)
    usual = min(timedelta(days=1 if step is Step.HOUR else DEFAULT_DAYS - 1), most)
    found: dict[str, date] = {}
    for name, text in (("from", first_text), ("to", last_text)):
        if not text:
            continue
        try:
            found[name] = moment(text).start.date()
            given[name] = found[name].isoformat()
        except BadValue as error:
            problems[name] = str(error)
    last = min(found.get("to", today), today)
    first = found.get("from", max(last - usual, EARLIEST.date()))
    if first > last:
        problems["from"] = "must not be after the last day, nor in the future"
        first = last
    if last - first > most:
        problems["from"] = f"at most {MOST_STEPS[step]} days by {step.value}"
        first = last - most
    return first, last
