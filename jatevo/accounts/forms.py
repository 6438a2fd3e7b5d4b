"""Forms of signing in and of one's own password."""

from typing import Any

from django import forms
from django.contrib.auth import password_validation

from jatevo.accounts.models import User
from jatevo.web.time_zones import UTC_NAME, zone_names

LONGEST_PASSWORD = 1024
OTP_NEEDED = "This account has a second factor. Enter its one-time password, and the password again."


class LoginForm(forms.Form):
    """E-mail and password; the one-time password only once it is known to be needed."""

    email = forms.CharField(
        label="E-mail",
        max_length=320,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        label="Password",
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    otp = forms.CharField(
        label="One-time password",
        max_length=32,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._otp = self.fields["otp"]
        if "otp" not in self.data:
            del self.fields["otp"]

    def ask_for_otp(self) -> None:
        """Shows the field that was left out, with its reason."""
        self.fields["otp"] = self._otp
        self.fields["otp"].widget.attrs["autofocus"] = True
        del self.fields["email"].widget.attrs["autofocus"]
        self.add_error("otp", OTP_NEEDED)


class PasswordForm(forms.Form):
    """One's own new password, twice."""

    current = forms.CharField(
        label="Current password",
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )
    new = forms.CharField(
        label="New password",
        max_length=LONGEST_PASSWORD,
        strip=False,
        help_text="At least 12 characters.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label="New password again",
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        self.user = user
        super().__init__(*args, **kwargs)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        new = cleaned.get("new")
        if new and cleaned.get("again") and new != cleaned["again"]:
            self.add_error("again", "The two new passwords differ.")
        if new:
            try:
                password_validation.validate_password(new, self.user)
            except forms.ValidationError as error:
                self.add_error("new", error)
        return cleaned


def _zone_choices() -> list[tuple[str, Any]]:
    """UTC, then the zones by area: ("Asia", [("Asia/Jakarta", "Jakarta"), …])."""
    areas: dict[str, list[tuple[str, str]]] = {}
    for name in zone_names():
        area, _, place = name.partition("/")
        areas.setdefault(area, []).append((name, place.replace("_", " ")))
    return [(UTC_NAME, "UTC"), *areas.items()]


class TimeZoneForm(forms.Form):
    """The zone in which times are shown."""

    zone = forms.ChoiceField(label="Time zone", choices=_zone_choices)
