"""`manage.py create_user --email ada@example.org --role admin`: the first person of an installation."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jatevo.accounts.actions import create_user
from jatevo.accounts.models import Org, Role


class Command(BaseCommand):
    help = "Adds a person and prints a random password once. The organisation is made if it does not exist."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True, help="the login")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument("--org", default="", help="name of the organisation; an operator needs one")
        parser.add_argument("--name", default="", help="what the person is called")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["role"] == Role.OPERATOR and not options["org"]:
            raise CommandError("An operator belongs to an organisation: give --org.")
        org = Org.objects.get_or_create(name=options["org"])[0] if options["org"] else None
        try:
            user, password = create_user(
                email=options["email"], role=options["role"], org=org, name=options["name"], by=None
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"{user.email}\n{password}")
