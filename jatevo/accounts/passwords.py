"""The check for passwords that are too easy to guess."""

from typing import Any, Final

from django.core.exceptions import ValidationError
from zxcvbn import zxcvbn

LEAST_SCORE: Final = 3  # of 4: "safely unguessable", 10^8 guesses and more
_MOST_JUDGED: Final = 72  # characters; zxcvbn refuses longer ones, and what it costs grows with the square


class GuessableValidator:
    """Refuses repeats (aaaaaaaaaaaa), sequences (123456789012), keyboard rows, and slightly modified words.

    Django's other validators count characters and compare with lists. zxcvbn estimates the number of guesses.
    """

    def validate(self, password: str, user: Any = None) -> None:
        about = [text for text in (getattr(user, "email", ""), getattr(user, "name", "")) if text]
        found = zxcvbn(password[:_MOST_JUDGED], user_inputs=about)
        if found["score"] < LEAST_SCORE:
            reason = found["feedback"]["warning"] or "This password is easy to guess."
            raise ValidationError(f"{reason} Use several unusual words.", code="password_guessable")

    def get_help_text(self) -> str:
        return "Your password cannot be easy to guess: no repeats, sequences or common words alone."
