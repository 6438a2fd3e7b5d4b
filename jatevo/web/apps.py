from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

from jatevo.web import logs


class WebConfig(AppConfig):
    name = "jatevo.web"
    label = "web"

    def ready(self) -> None:
        from jatevo.web import checks

        self.checks = checks  # importing the module registers its checks
        logs.configure()
        autodiscover_modules("definitions")
