from django.apps import AppConfig


class BusConfig(AppConfig):
    """Messages of the event bus that were refused, and `manage.py consume`."""

    name = "jatevo.bus"
    label = "bus"
    verbose_name = "Event bus"

    def ready(self) -> None:
        from jatevo.bus import gauges

        gauges.register()
