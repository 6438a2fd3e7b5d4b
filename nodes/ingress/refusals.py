"""Turns errors of actions into answers of the API."""

from typing import NoReturn

from jatevo.web.errors import ApiError
from nodes import actions

_STATUS: dict[type[actions.NodeError], tuple[int, str]] = {
    actions.NodeExists: (409, "node_exists"),
    actions.EnrollmentInvalid: (401, "invalid_token"),
    actions.EnrollmentMismatch: (403, "node_mismatch"),
    actions.StaleHeartbeat: (409, "replayed_request"),
    actions.TokenEnded: (401, "invalid_token"),
    actions.ReplayedProbe: (409, "replayed_request"),
    actions.UnknownChallenge: (404, "not_found"),
    actions.AnsweredAlready: (409, "replayed_request"),
    actions.UnknownNode: (404, "not_found"),
    actions.KeyExists: (409, "key_exists"),
}


def refusal(error: actions.NodeError) -> ApiError:
    """The ApiError that the contract names for the error, or else 422 `invalid_request`."""
    status, kind = _STATUS.get(type(error), (422, "invalid_request"))
    return ApiError(status, kind, str(error))


def refuse(error: actions.NodeError) -> NoReturn:
    """Raises the `refusal`."""
    raise refusal(error) from error


def require_same(authenticated: str, named: str) -> None:
    """Raises ApiError 403 if a body names another node than the one that signed it."""
    if authenticated != named:
        raise ApiError(403, "node_mismatch", f"Signed by {authenticated}, but the body names {named}.")
