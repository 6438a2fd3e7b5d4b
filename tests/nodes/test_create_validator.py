"""`manage.py create_validator`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from jatevo.audit.models import AuditEvent
from jatevo.wire.webhook import secret_of
from nodes.models import Validator
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> str:
    out = StringIO()
    call_command("create_validator", *arguments, stdout=out)
    return out.getvalue().strip()


def test_the_printed_token_signs_requests_and_the_change_is_audited() -> None:
    token = create("validator-1", "--network", "192.0.2.7/32", "--network", "2001:db8::/64")
    validator = Validator.objects.get(pk="validator-1")
    assert [str(each) for each in validator.networks] == ["192.0.2.7/32", "2001:db8::/64"]
    sender = SignedSender("X-Validator-Id", "validator-1", secret_of(token))
    assert sender.get("/v1/validators/assignments").status_code == 200
    assert AuditEvent.objects.get(verb="validator.create").actor_kind == "system"


@pytest.mark.parametrize(
    "arguments", [["Not An Id"], ["validator-1", "--network", "somewhere"], ["taken"]], ids=" ".join
)
def test_a_bad_id_a_bad_network_and_a_taken_id_are_refused(arguments: list[str]) -> None:
    create("taken")
    with pytest.raises(CommandError):
        create(*arguments)
    assert Validator.objects.count() == 1
