from django.apps import AppConfig
from django.conf import settings

# First of all apps, because metrics count in shared files only if they are made after these are chosen.
from jatevo.telemetry import metrics  # noqa: F401


class TelemetryConfig(AppConfig):
    """Traces and metrics. It has no models."""

    name = "jatevo.telemetry"
    label = "telemetry"

    def ready(self) -> None:
        if settings.OTLP_ENDPOINT:
            from jatevo.telemetry import exporting  # loads OpenTelemetry

            exporting.start()
