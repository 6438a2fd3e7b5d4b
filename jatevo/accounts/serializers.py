"""Bodies of the routes for people."""

from typing import Any

from rest_framework import serializers

from jatevo.accounts.models import Org, Role, User
from jatevo.accounts.permissions import ROLE_PERMISSIONS


class LoginRequest(serializers.Serializer[dict[str, Any]]):
    email = serializers.CharField(max_length=320)
    password = serializers.CharField(max_length=1024, trim_whitespace=False)
    otp = serializers.CharField(
        max_length=32,
        required=False,
        allow_blank=True,
        default="",
        help_text="The code from the authenticator app, for an account with two-factor authentication.",
    )


class AccessGranted(serializers.Serializer[dict[str, Any]]):
    access = serializers.CharField(help_text="For `Authorization: Bearer`; the same token is in the cookie.")
    expires_in = serializers.IntegerField(help_text="Seconds that the access token lives.")


class OrgBrief(serializers.ModelSerializer[Org]):
    class Meta:
        model = Org
        fields = ["id", "name"]


class Me(serializers.ModelSerializer[User]):
    role = serializers.ChoiceField(choices=Role.choices)
    org = OrgBrief(allow_null=True)
    permissions = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ["id", "email", "name", "role", "org", "permissions"]

    def get_permissions(self, user: User) -> list[str]:
        return sorted(ROLE_PERMISSIONS[Role(user.role)])
