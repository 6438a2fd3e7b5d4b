"""URLs for signing in. Included before Django admin's URLs, so that admin's login and logout lead here."""

from django.urls import path

from jatevo.accounts import reset_views, second_factor_views, step_up_views, views

app_name = "accounts"

urlpatterns = [
    path("login/", views.login, name="login"),
    path("logout/", views.logout, name="logout"),
    path("password/", views.password, name="password"),
    path("forgot-password/", reset_views.forgotten, name="forgotten"),
    path("reset-password/<str:who>/<str:token>/", reset_views.reset, name="reset"),
    path("second-factor/", second_factor_views.second_factor, name="second_factor"),
    path("account/confirm/", step_up_views.confirm, name="confirm"),
    path("time-zone/", views.time_zone, name="time_zone"),
    path("admin/login/", views.admin_login),
    path("admin/logout/", views.logout),
    path("admin/password_change/", views.admin_password_change),
]
