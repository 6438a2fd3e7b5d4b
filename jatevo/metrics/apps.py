from django.apps import AppConfig


class MetricsConfig(AppConfig):
    """Metrics in ClickHouse, and the outbox that feeds them from PostgreSQL."""

    name = "jatevo.metrics"
    label = "metrics"

    def ready(self) -> None:
        from jatevo.metrics import checks

        self.checks = checks  # importing it has registered it
