from django.apps import AppConfig


class LocalConfig(AppConfig):
    """Only for the `worker` command; no models."""

    name = "jatevo.local"
    label = "local"
