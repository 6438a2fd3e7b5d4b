"""Which passwords are accepted by the validators that all forms and commands use."""

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from jatevo.accounts.models import User

ADA = User(email="ada.lovelace@example.org", name="Ada Lovelace")


@pytest.mark.parametrize(
    "weak",
    [
        "aaaaaaaaaaaa",
        "aaaaaaaaaaab",
        "abcabcabcabc",
        "abcdefghijkl",
        "123456789012",
        "112233445566",
        "907135820461",
        "qwertyuiop12",
        "password1234",
        "Password123!",
        "ada.lovelace",
        "adalovelace1",
        "too short 1",
        "x" * 1024,
    ],
)
def test_guessable_passwords_are_refused(weak: str) -> None:
    with pytest.raises(ValidationError):
        validate_password(weak, ADA)


@pytest.mark.parametrize(
    "good",
    [
        "correct horse battery staple",
        "a much better passphrase",
        "tr4mbling-otter-quay",
        "ключ от старого сарая",
        "q" * 3 + "V8#kd92!zXp",
    ],
)
def test_unusual_passwords_are_taken(good: str) -> None:
    validate_password(good, ADA)
