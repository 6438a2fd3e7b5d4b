"""Turns errors of actions into answers of the API."""

from typing import NoReturn

from jatevo.web.errors import ApiError
from nodes import actions

_STATUS: dict[type[actions.NodeError], tuple[int, str]] = {
    actions.NodeExists: (409, "node_exists"),
    actions.EnrollmentInvalid: (401, "invalid_token"),
    actions.EnrollmentMismatch: (403, "node_mismatch"),
    actions.StaleHeartbeat: (409, "replayed_request"),
    actions.ReplayedProbe: (409, "replayed_request"),
    actions.UnknownChallenge: (404, "not_found"),
    actions.AnsweredAlready: (409, "replayed_request"),
    actions.UnknownNode: (404, "not_found"),
    actions.KeyExists: (409, "key_exists"),
}


def refuse(error: actions.NodeError) -> NoReturn:
    """Raises the ApiError that the contract names for the error, or else 422 `invalid_request`."""
    status, kind = _STATUS.get(type(error), (422, "invalid_request"))
    raise ApiError(status, kind, str(error)) from error
