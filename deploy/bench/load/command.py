import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError

from bench.load.loading import Loading, Wish
from jatevo.metrics.store import MetricsError
from nodes.models import Node


class Command(BaseCommand):
    """`python -m bench.load`: a large invented fleet with its history, for benchmarks."""

    help = "Fill an empty installation with invented nodes, their measurements, receipts and history."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--nodes", type=int, default=10_000)
        parser.add_argument(
            "--days", type=int, default=30, help="how many days measurements go back (default: 30)"
        )
        parser.add_argument("--seed", type=int, default=1, help="the same seed invents the same fleet")
        parser.add_argument("--receipts-per-node-day", type=float, default=24.0)
        parser.add_argument(
            "--signed-days",
            type=int,
            default=1,
            help="for how many days receipts are in PostgreSQL as well, with bytes that verify (default: 1)",
        )
        parser.add_argument(
            "--ahead-hours",
            type=int,
            default=0,
            help="hours of measurements after now, for a benchmark that lasts a while",
        )
        parser.add_argument(
            "--extend",
            action="store_true",
            help="only add measurements of the existing nodes, up to now",
        )
        parser.add_argument("--yes", action="store_true", help="load even if there are other nodes already")
        parser.add_argument(
            "--i-know", action="store_true", help="load even if this may be a production installation"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self._refuse(options)
        begun = time.monotonic()
        wish = Wish(
            nodes=options["nodes"],
            days=options["days"],
            seed=options["seed"],
            receipts_per_node_day=options["receipts_per_node_day"],
            ahead_hours=options["ahead_hours"],
            now=int(time.time()),
            signed_days=options["signed_days"],
        )
        loading = Loading(wish, say=self._say)
        try:
            logins = [] if options["extend"] else loading.load(Path(settings.HOME))
            if options["extend"]:
                loading.extend()
        except IntegrityError as error:
            raise CommandError(f"This fleet, or a part of it, already exists: {error}") from error
        except MetricsError as error:
            raise CommandError(f"ClickHouse failed, so the load is incomplete: {error}") from error
        self._say(f"Done after {time.monotonic() - begun:.0f} s.")
        for login in logins:
            password = login.password if login.current else "(changed since in the console)"
            self._say(f"  {login.role:<10} {login.user.email:<28} {password}")

    def _refuse(self, options: dict[str, Any]) -> None:
        """Raises CommandError if the load would do harm."""
        if not (settings.EMBEDDED or settings.DEBUG or options["i_know"]):
            raise CommandError(
                "This may be a production installation (neither embedded nor JATEVO_DEBUG). "
                "Use --i-know to load anyway."
            )
        if options["nodes"] < 10 or options["days"] < 1:
            raise CommandError("A load needs at least 10 nodes and 1 day.")
        if not 1 <= options["signed_days"] <= options["days"]:
            raise CommandError("--signed-days is from 1 to the number of days.")
        filled = Node.objects.exists()
        if options["extend"] and not filled:
            raise CommandError("There are no nodes to add measurements for.")
        if filled and not (options["yes"] or options["extend"]):
            raise CommandError("There are nodes already. Use --yes to add the invented ones to them.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
