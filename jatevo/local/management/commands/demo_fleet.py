"""`manage.py demo_fleet`: the demo's agents, validator and gateway beside a console on services (compose.yaml)."""

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jatevo.accounts.models import Role
from jatevo.local.children import Children
from jatevo.local.demo import DemoFleet
from jatevo.local.seed import seed_users
from jatevo.local.stopping import listen
from jatevo.local.stores import make_home

TICK_SECONDS = 0.25
GRACE_SECONDS = 5.0


class Command(BaseCommand):
    help = (
        "Run the demo fleet until SIGINT or SIGTERM. Its keys and logs, and three logins, are in JATEVO_HOME."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--console", required=True, metavar="URL", help="where the fleet reaches the console"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        asked_to_stop = listen()
        home = make_home(settings.HOME)
        people = {login.role: login.user for login in seed_users(home)}
        operator = people[Role.OPERATOR]
        if operator.org is None:
            raise CommandError(f"{operator} has left its organisation, so the demo's nodes would have none.")
        children = Children(home / "run" / "children")
        children.end_leftovers()
        fleet = DemoFleet(
            home,
            children,
            console_url=options["console"],
            org=operator.org,
            by=operator,
            admin=people[Role.ADMIN],
        )
        self.stdout.write(f"The demo fleet works. Its logins are in {home / 'credentials.json'}.")
        while not asked_to_stop.wait(TICK_SECONDS):
            fleet.tick(at=time.monotonic())
        fleet.stop(grace_seconds=GRACE_SECONDS)
        children.close()
