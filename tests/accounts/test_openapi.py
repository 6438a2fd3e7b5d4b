"""The OpenAPI document's part on accounts."""

from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings

from jatevo.accounts import api_urls


def document() -> dict[str, Any]:
    with patched_settings({"SCHEMA_PATH_PREFIX": "/"}):
        return SchemaGenerator(patterns=api_urls.urlpatterns).get_schema(request=None, public=True)


def test_every_route_of_people_is_described() -> None:
    paths = document()["paths"]
    assert set(paths) == {"/auth/login", "/auth/refresh", "/auth/logout", "/users/me"}
    assert set(paths["/auth/logout"]["post"]["responses"]) == {"204", "default"}
    assert {} in paths["/auth/logout"]["post"]["security"], "signing out twice is no error"
    assert "otp" not in document()["components"]["schemas"]["LoginRequest"]["required"]


def test_both_ways_of_proving_who_asks_are_named() -> None:
    described = document()
    assert described["paths"]["/users/me"]["get"]["security"] == [{"bearer": []}, {"cookie": []}]
    assert described["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert described["components"]["securitySchemes"]["cookie"]["name"] == "jatevo_access"
