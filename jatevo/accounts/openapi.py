"""The security schemes of people, for the OpenAPI document."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from jatevo.accounts import cookies


class JwtScheme(OpenApiAuthenticationExtension):
    """Describes JwtAuthentication as two schemes: a bearer token, or a cookie with a CSRF token for unsafe
    methods.
    """

    target_class = "jatevo.accounts.authentication.JwtAuthentication"
    name = ["bearer", "cookie"]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[Any]]]:
        return [{name: []} for name in self.name]  # either, where the default says both

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            {
                "type": "apiKey",
                "in": "cookie",
                "name": cookies.ACCESS,
                "description": "Set by signing in. Anything but a read also needs X-CSRFToken.",
            },
        ]
