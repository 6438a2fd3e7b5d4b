"""`manage.py worker`: the background worker as a separate process, for a deployment of several services."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from jatevo.local.worker import work_until_signalled
from jatevo.web.garbage import freeze_what_is_loaded
from jatevo.web.postgresql.pooling import SharedSession


class Command(BaseCommand):
    help = (
        "Run background and periodic jobs until SIGINT or SIGTERM; running jobs get five seconds to finish."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        freeze_what_is_loaded()
        try:
            asyncio.run(work_until_signalled())
        except SharedSession as error:
            raise CommandError(str(error)) from error
