"""Every `type` that an error of /v1 can have, with its meaning. The Docs and the OpenAPI document list them."""

from dataclasses import dataclass
from enum import StrEnum


class ErrorType(StrEnum):
    """What went wrong, for programs. A type keeps its meaning; messages may be reworded."""

    INVALID_JSON = "invalid_json"
    INVALID_REQUEST = "invalid_request"
    INVALID_SIGNATURE = "invalid_signature"
    UNAUTHENTICATED = "unauthenticated"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - the name of an error
    CLOCK_SKEW = "clock_skew"
    FORBIDDEN = "forbidden"
    NODE_MISMATCH = "node_mismatch"
    CSRF_FAILED = "csrf_failed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NODE_EXISTS = "node_exists"
    KEY_EXISTS = "key_exists"
    REPLAYED_REQUEST = "replayed_request"
    RECEIPT_CONFLICT = "receipt_conflict"
    DISPATCH_CONFLICT = "dispatch_conflict"
    LENGTH_REQUIRED = "length_required"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RATE_LIMITED = "rate_limited"
    INTERNAL_ERROR = "internal_error"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class ErrorMeaning:
    """When an error occurs, under which HTTP statuses, and what the caller should do."""

    statuses: tuple[int, ...]
    when: str
    what_to_do: str


MEANINGS: dict[ErrorType, ErrorMeaning] = {
    ErrorType.INVALID_JSON: ErrorMeaning(
        (400,),
        "The body is not strict JSON, or it is incomplete.",
        "Send one JSON value without duplicate keys, NaN, or integers beyond 2^53 - 1.",
    ),
    ErrorType.INVALID_REQUEST: ErrorMeaning(
        (422, 400),
        "A field or a query parameter is wrong, missing or unknown. `details` names each field.",
        "Correct the fields. The same request will be refused again.",
    ),
    ErrorType.INVALID_SIGNATURE: ErrorMeaning(
        (422,),
        "The ed25519 signature of a receipt or of a new key does not verify.",
        "Sign the RFC 8785 bytes without `signature`, with the node's current key.",
    ),
    ErrorType.UNAUTHENTICATED: ErrorMeaning(
        (401,), "No credentials were sent.", "Send a bearer token, or the headers of a signed request."
    ),
    ErrorType.INVALID_TOKEN: ErrorMeaning(
        (401,),
        "The credentials are wrong, expired, revoked or used up.",
        "Get new ones: sign in again, or take a new token from the node's page.",
    ),
    ErrorType.CLOCK_SKEW: ErrorMeaning(
        (401,),
        "The timestamp is too far from the server's clock. `server_time` says what that is.",
        "Set the clock, or correct your timestamps by the difference.",
    ),
    ErrorType.FORBIDDEN: ErrorMeaning(
        (403,), "Your role does not allow this.", "Ask an admin, or use another account."
    ),
    ErrorType.NODE_MISMATCH: ErrorMeaning(
        (403,),
        "The body names a different node from the one that signed the request or that the token is for.",
        "Use the credentials of the node in the body.",
    ),
    ErrorType.CSRF_FAILED: ErrorMeaning(
        (403,),
        "A change was authenticated by a cookie, without a valid CSRF token.",
        "Scripts should send `Authorization: Bearer`, which needs none.",
    ),
    ErrorType.NOT_FOUND: ErrorMeaning(
        (404,),
        "There is no such thing, or it belongs to another organisation.",
        "Check the path, and whose credentials you use.",
    ),
    ErrorType.METHOD_NOT_ALLOWED: ErrorMeaning(
        (405,), "The path exists, but not with this method.", "See the endpoint in the API reference."
    ),
    ErrorType.NODE_EXISTS: ErrorMeaning(
        (409,),
        "The node id is taken.",
        "Choose another id. If the node is yours, take a new token from its page.",
    ),
    ErrorType.KEY_EXISTS: ErrorMeaning(
        (409,), "A node has, or had, this public key.", "Make a new key pair for each node."
    ),
    ErrorType.REPLAYED_REQUEST: ErrorMeaning(
        (409,),
        "The `webhook-id` was used before, or a heartbeat's `ts` is not later than the last one.",
        "Use a new `webhook-id` for each attempt. Stop a second agent with the same state.",
    ),
    ErrorType.RECEIPT_CONFLICT: ErrorMeaning(
        (409,),
        "The node has a different receipt with this `request_id`. The first one stands.",
        "Do not send it again. Send repeats byte for byte.",
    ),
    ErrorType.DISPATCH_CONFLICT: ErrorMeaning(
        (409,),
        "An earlier dispatch or winner of this request says something else. It stands.",
        "Do not send it again. Admins see the conflict.",
    ),
    ErrorType.LENGTH_REQUIRED: ErrorMeaning(
        (411,), "The end of the body cannot be told.", "Send `Content-Length`, or use chunked encoding."
    ),
    ErrorType.TOO_LARGE: ErrorMeaning(
        (413, 414), "The body or the URL is too large.", "Send smaller batches."
    ),
    ErrorType.UNSUPPORTED_MEDIA_TYPE: ErrorMeaning(
        (415,), "The body is not declared as JSON.", "Send `Content-Type: application/json`."
    ),
    ErrorType.RATE_LIMITED: ErrorMeaning(
        (429,), "Too many requests.", "Wait as many seconds as `Retry-After` says, then try again."
    ),
    ErrorType.INTERNAL_ERROR: ErrorMeaning(
        (500,),
        "A fault of the console. It has been logged under `request_id`.",
        "Try again later. If it stays, report it with the `request_id`.",
    ),
    ErrorType.UNAVAILABLE: ErrorMeaning(
        (503,),
        "A store did not answer in time. Nothing was acknowledged.",
        "Try again after `Retry-After`. If it was kept all the same, the repeat is a duplicate.",
    ),
}
