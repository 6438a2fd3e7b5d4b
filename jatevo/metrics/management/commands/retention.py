from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from jatevo.metrics.retention_policy import apply


class Command(BaseCommand):
    """`manage.py retention`: applies the retention policy, as the worker does every night."""

    help = "Delete data that is older than settings.RETENTION_DAYS, and report it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="only report what would be deleted, and what is kept"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run: bool = options["dry_run"]
        verb = "would drop" if dry_run else "dropped"
        problems = 0
        for applied in apply(at=timezone.now(), dry_run=dry_run):
            rule = applied.rule
            for dropped in applied.dropped:
                self.stdout.write(f"{rule.name}: {verb} {dropped}")
            for kept in applied.kept:
                self.stdout.write(f"{rule.name}: keeps {kept}")
            if applied.problem:
                problems += 1
                self.stdout.write(f"{rule.name}: left as it is: {applied.problem}")
            elif not applied.dropped and not applied.kept:
                self.stdout.write(f"{rule.name}: nothing is older than {rule.keep_days} days")
        if problems:
            raise CommandError(f"{problems} of the rules could not be applied. Run it again later.")
