"""`manage.py create_validator validator-1`: a validator and its token, as Django admin makes them."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from nodes.actions import create_sender
from nodes.models import Validator
from nodes.models.network import network_text


class Command(BaseCommand):
    help = "Adds a validator and prints its token once. Django admin can give it a new one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="such as validator-1")
        parser.add_argument(
            "--network",
            action="append",
            default=[],
            metavar="NETWORK",
            help="addresses that it asks nodes from, published for operators' firewalls; may be given again",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["id"]
        try:
            networks = [network_text(each) for each in options["network"]]
            Validator(pk=name, networks=networks).full_clean()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        _, token = create_sender(Validator, name=name, by=None, at=timezone.now(), networks=networks)
        self.stdout.write(token)
