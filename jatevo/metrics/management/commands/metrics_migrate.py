from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from jatevo.metrics.migrator import migrate
from jatevo.metrics.store import MetricsError, get_store, patient_store


class Command(BaseCommand):
    """`manage.py metrics_migrate`: updates ClickHouse's schema."""

    help = "Apply the numbered SQL files of jatevo/metrics/schema that ClickHouse does not have yet."

    def handle(self, *args: Any, **options: Any) -> None:
        store = patient_store()
        try:
            get_store().create_database()  # with a short time-out, to report an unreachable server quickly
            steps = migrate(store, at=timezone.now())
        except MetricsError as error:
            raise CommandError(f"The metrics schema was not migrated: {error}") from error
        finally:
            if store is not get_store():
                store.close()
        for step in steps:
            self.stdout.write(f"{step.name}: {step.outcome}" + (f" ({step.detail})" if step.detail else ""))
