from django.apps import AppConfig


class OverviewConfig(AppConfig):
    name = "jatevo.overview"
    label = "overview"

    def ready(self) -> None:
        from jatevo.overview import gauges

        gauges.register()
