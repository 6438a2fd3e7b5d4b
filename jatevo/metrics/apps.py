from django.apps import AppConfig


class MetricsConfig(AppConfig):
    """Metrics in ClickHouse, and the outbox that feeds them from PostgreSQL."""

    name = "jatevo.metrics"
    label = "metrics"
