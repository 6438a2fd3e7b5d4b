"""Forms for signing in, for passwords and for the time zone."""

from typing import Any

from django import forms
from django.contrib.auth import password_validation

from jatevo.accounts.models import User
from jatevo.web.time_zones import UTC_NAME, zone_names

LONGEST_PASSWORD = 1024
OTP_NEEDED = "This account uses two-factor authentication. Enter the code from your authenticator app, and your password again."


class LoginForm(forms.Form):
    """Email and password, and the one-time password once it is known to be needed."""

    email = forms.CharField(
        label="Email",
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
        label="One-time code",
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
        """Shows the field for the one-time password, with an explanation."""
        self.fields["otp"] = self._otp
        self.fields["otp"].widget.attrs["autofocus"] = True
        del self.fields["email"].widget.attrs["autofocus"]
        self.add_error("otp", OTP_NEEDED)


def _password_field(label: str, autocomplete: str, **kwargs: Any) -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": autocomplete}),
        **kwargs,
    )


class NewPasswordForm(forms.Form):
    """A new password, twice."""

    new = _password_field(
        "New password", "new-password", help_text="At least 12 characters, and not easy to guess."
    )
    again = _password_field("Confirm new password", "new-password")

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        self.user = user
        super().__init__(*args, **kwargs)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        new = cleaned.get("new")
        if new and cleaned.get("again") and new != cleaned["again"]:
            self.add_error("again", "The passwords do not match.")
        if new:
            try:
                password_validation.validate_password(new, self.user)
            except forms.ValidationError as error:
                self.add_error("new", error)
        return cleaned


class PasswordForm(NewPasswordForm):
    """The person's new password, with the current one."""

    current = _password_field("Current password", "current-password")
    field_order = ["current", "new", "again"]

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.fields["current"].widget.attrs["autofocus"] = True


class ForgottenForm(forms.Form):
    """An email address, whether or not it has an account."""

    email = forms.EmailField(
        label="Email",
        max_length=320,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )


class ProveForm(forms.Form):
    """The person's password, asked again before actions that a stolen session must not allow."""

    current = _password_field("Current password", "current-password")


class IdentityForm(ProveForm):
    """The person's password, and a code if they have a second factor.

    The names of the fields are unlikely in other forms, because the fields may be added to any of them.
    """

    prefix = "identity"

    def __init__(self, *args: Any, asks_for_code: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["current"].widget.attrs["autofocus"] = True
        self.fields["current"].label = "Password"
        if asks_for_code:
            self.fields["otp"] = forms.CharField(
                label="One-time code",
                max_length=32,
                help_text="From your authenticator app. Each code works once.",
                widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
            )


class CodeForm(forms.Form):
    """The code that the authenticator app shows."""

    code = forms.CharField(
        label="Code from the app",
        max_length=12,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )


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
