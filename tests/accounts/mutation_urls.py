"""The URLs of accounts, and one ordinary mutation with the default authentication."""

from django.urls import include, path
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from jatevo.urls import urlpatterns as real


@api_view(["GET", "POST", "PUT", "PATCH", "DELETE"])
def thing(request: Request) -> Response:
    return Response({"by": str(request.user)})


urlpatterns = [path("v1/thing", thing), path("", include(real))]
