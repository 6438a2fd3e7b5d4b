"""`manage.py consume`: takes from the event bus what machines publish there, beside web and lane."""

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Take heartbeats, receipts, probes and dispatches from NATS JetStream until SIGINT or SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.NATS_URL:
            raise CommandError(
                "NATS_URL is not set. Set it to the address of NATS, such as nats://nats:4222."
            )
        from jatevo.bus.consuming import consume_until_signalled  # only here is NATS's client loaded

        asyncio.run(consume_until_signalled(settings.NATS_URL))
