from django.apps import AppConfig


class LocalConfig(AppConfig):
    """Provides the `worker` command. It has no models."""

    name = "jatevo.local"
    label = "local"

    def ready(self) -> None:
        from jatevo.local import observing

        observing.register()
