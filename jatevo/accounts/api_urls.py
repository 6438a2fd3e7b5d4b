"""Routes of people below /v1/."""

from django.urls import path

from jatevo.accounts import api

urlpatterns = [
    path("auth/login", api.login, name="api-login"),
    path("auth/refresh", api.refresh, name="api-refresh"),
    path("auth/logout", api.logout, name="api-logout"),
    path("users/me", api.me, name="api-me"),
]
