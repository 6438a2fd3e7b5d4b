"""GET /v1/earnings and /v1/earnings/{node_id}."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework.decorators import api_view, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from earnings.api.serializers import STEP_PAGE_FIELDS, NodeEarningsAnswer
from earnings.figures.balances import balances
from earnings.figures.jtvo import JtvoRates
from earnings.figures.listed import EarnedStep, listed_days, listed_steps
from earnings.figures.payout import next_payout_of, policy_at
from earnings.figures.query import EarningsQuery, read_query
from earnings.figures.scope import NotYours, Scope, scope_for
from earnings.figures.series import By, Step, TooManyReceipts
from earnings.figures.sums import sums, sums_by_day
from earnings.models import NodeTotal
from earnings.payouts.candidates import candidates
from earnings.payouts.judging import rules_of
from earnings.rules.periods import Month
from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, api_permission, user_of
from jatevo.flags.registry import Flag, enabled
from jatevo.web.errors import ApiError, FieldProblem, invalid_request, not_found
from jatevo.web.exact import exact, exact_or_none
from jatevo.web.openapi import CURSOR, LIMIT, moment_parameter, text_parameter
from jatevo.web.paging import parse_limit
from jatevo.web.query_values import takes_query
from jatevo.web.throttling import hit
from nodes.models import Node

_STEPS: Final = (Step.HOUR, Step.DAY, Step.MONTH)
_BY: Final = (By.NODE, By.MODEL)
_MONTHS_BY_DEFAULT: Final = timedelta(days=364)
_SERIES = [
    OpenApiParameter(
        "by",
        {"type": "string", "enum": ["node", "model", "node,model", "model,node"]},
        description="splits each step by node, by model, or by both",
    ),
    OpenApiParameter("step", enum=[each.value for each in _STEPS], description="`day` without it"),
    moment_parameter("from", "The first UTC day; the whole day is included."),
    moment_parameter("to", "The last UTC day; the whole day is included."),
    OpenApiParameter("org", {"type": "string", "format": "uuid"}, description="for admins; all without it"),
    text_parameter("node", 64, "only this node"),
    text_parameter("model", 128, "only this model, in any spelling"),
    CURSOR,
    LIMIT,
]


@extend_schema(
    operation_id="earnings_list",
    summary="Earnings over time",
    parameters=_SERIES,
    responses=inline_serializer("EarningsPage", STEP_PAGE_FIELDS),
)
@api_view(["GET", "HEAD"])
@permission_classes([api_permission(Permission.VIEW_EARNINGS)])
@takes_query(*(parameter.name for parameter in _SERIES))
def earnings(request: Request) -> Response:
    """Your organisation's earnings by hour, day or month, newest first; an admin's of all organisations, or of `org`.

    A step without receipts is left out: it earned 0. Of equal steps, nodes and models come in descending order.
    Without `from`, days go back 30 days, hours to yesterday, and months a year. At most 8 days by hour.
    """
    user = user_of(request)
    hit("reads", user.email)
    by = _by(request.query_params.get("by"))
    query = _query(request.query_params, user, at=timezone.now())
    scope = query.scope
    if query.step is Step.MONTH:  # whole months
        scope = scope.within(query.first.replace(day=1), _month_end(query))
    try:
        page = listed_steps(
            scope,
            query.step,
            by,
            cursor=request.query_params.get("cursor"),
            limit=parse_limit(request.query_params.get("limit")),
            rates=JtvoRates(),
        )
    except TooManyReceipts:
        raise _refused("from", "too many receipts to sum by hour: ask for fewer days, or one node") from None
    shown = enabled(Flag.SHOW_JTVO_ESTIMATES)
    return Response(
        {
            "from": scope.first,
            "to": scope.last,
            "results": [_step_answer(step, shown) for step in page.steps],
            "next": page.next,
        }
    )


@extend_schema(
    operation_id="earnings_of_node",
    summary="Earnings of a node",
    parameters=[CURSOR, LIMIT],
    responses=NodeEarningsAnswer,
)
@api_view(["GET", "HEAD"])
@permission_classes([api_permission(Permission.VIEW_EARNINGS)])
@takes_query("cursor", "limit")
def earnings_of_node(request: Request, node_id: str) -> Response:
    """What a node has earned for your organisation, its next payout, and its days with receipts, newest first.

    `cursor` and `limit` page through the periods; all other figures are to date. A node that left your organisation
    keeps what it earned for it.
    """
    user = user_of(request)
    hit("reads", user.email)
    scope = scope_for(user, node_id=node_id)
    node = _node(scope)
    if node is None:
        raise not_found()
    at = timezone.now()
    rates = JtvoRates()
    page = listed_days(
        scope,
        cursor=request.query_params.get("cursor"),
        limit=parse_limit(request.query_params.get("limit")),
        rates=rates,
    )
    earned, balance = sums(scope), balances(scope)
    payout = next_payout_of(balance, at=at)
    shown = enabled(Flag.SHOW_JTVO_ESTIMATES)
    estimate = rates.estimate(sums_by_day(scope)).value if shown else None
    return Response(
        {
            "node_id": node_id,
            "fees_usd": exact(earned.fees_usd),
            "jtvo_est": exact_or_none(estimate),
            "held_usd": exact(earned.held_usd),
            "next_payout": payout.at,
            "payout_ready": balance.ready > 0,
            "threshold_usd": exact(payout.threshold_usd),
            "eligibility": _eligibility(node, scope, at=at),
            "periods": [_period_answer(step, shown) for step in page.steps],
            "next": page.next,
        }
    )


def _node(scope: Scope) -> Node | None:
    """The node, if it is the organisation's, or was and earned for it. One query, whatever the answer."""
    nodes = Node.objects.filter(pk=scope.node_id)
    if scope.org_id is not None:
        earned = NodeTotal.objects.filter(node=OuterRef("pk"), org=scope.org_id)
        nodes = nodes.filter(Q(org=scope.org_id) | Q(Exists(earned)))
    return nodes.first()


def _eligibility(node: Node, scope: Scope, *, at: datetime) -> list[dict[str, Any]]:
    """The rules' answers for what the node could be paid now, as the payout run judges them.

    Of a node that earned for several organisations, an admin gets those of its present one.
    """
    policy = policy_at(at)
    org_id = scope.org_id or node.org_id
    answers = [
        rule
        for candidate in candidates([node.pk], policy=policy, at=at, org_id=org_id)
        for rule in rules_of(candidate, amount_usd=candidate.available_usd, policy=policy, at=at)
    ]
    return [
        {
            "rule": answer.rule.value,
            "ok": answer.ok,
            "detail": f"{answer.detail} {answer.what_to_do}".strip(),
        }
        for answer in answers
    ]


def _query(params: Mapping[str, str], user: User, *, at: datetime) -> EarningsQuery:
    wanted = {name: params[name] for name in ("org", "node", "model", "from", "to", "step") if name in params}
    if wanted.get("step") == Step.MONTH and "from" not in wanted and "to" not in wanted:
        wanted["from"] = (at - _MONTHS_BY_DEFAULT).date().isoformat()
    _check_org(wanted.get("org"))
    try:
        query = read_query(wanted, user, at=at)
    except NotYours:
        raise not_found() from None
    problems = dict(query.problems)
    if query.step not in _STEPS:
        problems["step"] = "one of " + ", ".join(_STEPS)
    if problems:
        raise invalid_request(
            "Some parameters are invalid.", [FieldProblem(name, text) for name, text in problems.items()]
        )
    return query


def _check_org(text: str | None) -> None:
    """Raises ApiError 422 for what cannot be the id of an organisation, whoever asks."""
    try:
        uuid.UUID(text or str(uuid.NAMESPACE_URL))
    except ValueError:
        raise _refused("org", "a UUID") from None


def _month_end(query: EarningsQuery) -> date:
    return Month.of(query.last).last_day


def _period_answer(step: EarnedStep, jtvo_shown: bool) -> dict[str, Any]:
    return {**_common(step, jtvo_shown), "state": step.stage}


def _step_answer(step: EarnedStep, jtvo_shown: bool) -> dict[str, Any]:
    return {
        **_common(step, jtvo_shown),
        "node_id": step.node_id,
        "model": step.model,
        "held_usd": exact(step.held_usd),
    }


def _common(step: EarnedStep, jtvo_shown: bool) -> dict[str, Any]:
    return {
        "start": step.start,
        "end": step.end,
        "fees_usd": exact(step.fees_usd),
        "jtvo_est": exact_or_none(step.jtvo) if jtvo_shown else None,
        "jtvo_rate": exact_or_none(step.jtvo_rate) if jtvo_shown else None,
        "receipts": step.receipts,
        "final": step.final,
    }


def _by(text: str | None) -> Sequence[By]:
    """The parts of `by`, each at most once. Raises ApiError 422."""
    names = text.split(",") if text else []
    if len(set(names)) != len(names) or any(name not in _BY for name in names):
        raise _refused("by", "node, model, or both with a comma")
    return [By(name) for name in names]


def _refused(field: str, message: str) -> ApiError:
    return invalid_request("Some parameters are invalid.", [FieldProblem(field, message)])
