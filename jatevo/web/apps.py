from django.apps import AppConfig

from jatevo.web import logs


class WebConfig(AppConfig):
    name = "jatevo.web"
    label = "web"

    def ready(self) -> None:
        logs.configure()
