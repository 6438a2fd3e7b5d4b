from django.apps import AppConfig


class MetricsConfig(AppConfig):
    """Metrics in ClickHouse, and the outbox that feeds them from PostgreSQL."""

    name = "jatevo.metrics"
    label = "metrics"

    def ready(self) -> None:
        from jatevo.metrics import checks, gauges
        from jatevo.metrics.patience import answers
        from jatevo.web.health import register_store

        self.checks = checks  # importing the module registers its checks
        register_store("clickhouse", answers)
        gauges.register()
