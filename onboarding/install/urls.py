"""Pages under /install/, which a new machine reads without signing in."""

from django.urls import path, register_converter

from onboarding.install import views


class InstallCodeConverter:
    regex = "jvi_[A-Za-z0-9_-]{20}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(InstallCodeConverter, "install_code")

app_name = "install"
urlpatterns = [
    path("agent.json", views.newest, name="newest"),
    path("agent/Dockerfile", views.dockerfile, name="dockerfile"),
    path("agent/<str:name>.sha256", views.wheel_digest, name="wheel_digest"),
    path("agent/<str:name>", views.wheel, name="wheel"),
    path("services/<str:name>", views.service, name="service"),
    path("<install_code:code>.sh", views.script, name="script"),
    path("<install_code:code>/agent.yaml", views.config, name="config"),
]
