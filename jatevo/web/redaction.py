"""Takes secrets out of log lines: by the name of a value, by its shape, and those of this console's own settings."""

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from django.conf import settings

from jatevo.web.bounds import MOST_ITEMS

HIDDEN: Final = "…"
_DEEPEST: Final = 6

# A value with such a name is hidden, whatever it is.
_NAMES: Final = re.compile(
    r"(?:^|[_.\- ])(?:password|passwd|passphrase|secret|token|authorization|cookies?|signature|api[_-]?key|hmac|session|csrfmiddlewaretoken|otp|credentials?)$",
    re.IGNORECASE,
)
_SHAPES: Final = (
    # enrolment tokens, install codes, node tokens, JWTs
    (re.compile(r"\b(jv[a-z]_|whsec_|eyJ)[A-Za-z0-9+/=_.-]{8,}"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(Bearer|Basic)\s+[^\s\"'\\,;]{4,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # user:password@ in a URL
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@\"']*):[^\s/@\"']+@", re.IGNORECASE), rf"\1:{HIDDEN}@"),
    # signatures of Standard Webhooks
    (re.compile(r"\bv1,[A-Za-z0-9+/]{40,}={0,2}"), f"v1,{HIDDEN}"),
    # the link of a forgotten password
    (re.compile(r"(/reset-password/)[^\s\"'?#>\\]+"), rf"\1{HIDDEN}"),
    # all of a header with cookies, whatever their names
    (re.compile(r"(?i)(cookie\\?[\"']?\s*[=:]\s*\\?[\"']?)[^\"'\n\\]+"), rf"\1{HIDDEN}"),
    # name=value and "name": "value" in a text, such as a repr, a query or a DSN
    (
        re.compile(
            r"(?i)((?:password|passwd|passphrase|secret|token|authorization|cookie|signature|api[_-]?key|hmac|csrfmiddlewaretoken)\\?[\"']?\s*[=:]\s*\\?[\"']?)"
            r"(?!\d+\b|None\b|null\b|…)[^\s\"'&,;})\\]{4,}"
        ),
        rf"\1{HIDDEN}",
    ),
)


def hide(value: Any, depth: int = 0) -> Any:
    """The value without secrets. Looks into dicts, lists and tuples; other objects are described first, as in the log."""
    if isinstance(value, str):
        return hide_in(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth >= _DEEPEST:
        return hide_in(repr(value))
    if isinstance(value, Mapping):
        some = islice(value.items(), MOST_ITEMS + 1)
        return {
            hide(name, depth + 1) if isinstance(name, str) else name: HIDDEN
            if is_secret_name(name, each)
            else hide(each, depth + 1)
            for name, each in some
        }
    if isinstance(value, (list, tuple)):
        return [hide(each, depth + 1) for each in value[: MOST_ITEMS + 1]]
    return hide_in(repr(value))


def hide_in(text: str) -> str:
    """The text without what looks like a secret, or is one of this console's."""
    for secret in own_secrets():
        if secret in text:
            text = text.replace(secret, HIDDEN)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def is_secret_name(name: object, value: object) -> bool:
    """Whether the value is hidden because of its name, such as `password`."""
    return (
        bool(value)
        and isinstance(name, str)
        and isinstance(value, (str, bytes))
        and bool(_NAMES.search(name))
    )


@lru_cache(maxsize=1)
def own_secrets() -> tuple[str, ...]:
    """What must not be in a log as it is: the settings' keys, and the passwords in the addresses of stores and mail."""
    found = {settings.SECRET_KEY, settings.MASTER_KEY_TEXT, settings.METRICS_TOKEN}
    addresses = (
        settings.REDIS_URL,
        settings.CLICKHOUSE_URL,
        settings.EMAIL_URL,
        *settings.NATS_URL.split(","),
    )
    for address in addresses:
        try:
            password = urlsplit(address).password or ""
        except ValueError:
            continue
        found |= {password, unquote(password)}
    databases: dict[str, dict[str, Any]] = settings.DATABASES
    for database in databases.values():
        found |= {str(each.get("PASSWORD") or "") for each in (database, database.get("DIRECT") or {})}
    # longest first, in case one is a part of another; short ones would hide words
    return tuple(sorted((each for each in found if len(each) >= 8), key=len, reverse=True))
