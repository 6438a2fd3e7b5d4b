"""`manage.py create_user`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from jatevo.accounts.models import User
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> str:
    out = StringIO()
    call_command("create_user", *arguments, stdout=out)
    return out.getvalue()


def test_the_printed_password_signs_in() -> None:
    email, password = create("--email", "Ada@Example.org", "--role", "admin").split()
    assert email == "ada@example.org"
    Browser().sign_in(User.objects.get(email=email), password)
    assert AuditEvent.objects.get(verb="user.create").actor_kind == "system"


def test_operator_gets_an_organisation() -> None:
    create("--email", "op@example.org", "--role", "operator", "--org", "Alpine Compute")
    org = User.objects.get(email="op@example.org").org
    assert org is not None and org.name == "Alpine Compute"


def test_operator_without_an_organisation_is_refused() -> None:
    with pytest.raises(CommandError, match="give --org"):
        create("--email", "op@example.org", "--role", "operator")


@pytest.mark.parametrize("email", ["not an address", "taken@example.org"])
def test_bad_address_is_one_sentence(email: str) -> None:
    create("--email", "TAKEN@example.org", "--role", "viewer")
    with pytest.raises(CommandError, match=r"\."):
        create("--email", email, "--role", "viewer")
    assert User.objects.count() == 1
