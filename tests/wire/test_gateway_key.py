"""The gateways' key: what the contract says, so that an agent in any language can derive it."""

import base64
import hashlib
import hmac

from jatevo.wire.gateway_key import gateway_key
from jatevo.wire.webhook import secret_of, token_text


def test_key_is_the_hmac_of_its_purpose_under_the_token() -> None:
    secret = bytes(range(32))
    expected = hmac.digest(secret, b"jatevo-gateway-key", hashlib.sha256)
    key = gateway_key(secret_of(token_text(secret)))
    assert key.startswith("jvg_")
    assert base64.urlsafe_b64decode(key.removeprefix("jvg_") + "=") == expected


def test_another_token_has_another_key() -> None:
    assert gateway_key(b"a" * 32) != gateway_key(b"b" * 32)


def test_known_value() -> None:
    assert gateway_key(bytes(32)) == "jvg_4g-qLm3mlFd6ogY5n8-dCoU-Bkwzi9ighBgUbZRFTAE"
