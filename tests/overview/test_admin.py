"""Staff write incidents in Django admin; each change leaves its audit row."""

import pytest

from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from jatevo.overview.models import Incident
from tests.accounts.browser import Browser
from tests.factories import NodeFactory, UserFactory

LIST = "/admin/overview/incident/"


@pytest.fixture
def admin(db: None) -> User:
    user: User = UserFactory.create(role=Role.ADMIN)
    return user


def verbs() -> list[str]:
    return list(
        AuditEvent.objects.filter(subject_kind="incident").order_by("pk").values_list("verb", flat=True)
    )


def test_an_admin_opens_an_incident_and_resolves_it(admin: User) -> None:
    browser = Browser().hold_session(admin)
    NodeFactory.create(region="us-west")
    fields = {"kind": "incident", "severity": "major", "title": "Region down", "region": "us-west"}
    fields |= {"starts_at_0": "2026-06-01", "starts_at_1": "12:00:00"}
    fields |= {"updates-TOTAL_FORMS": "0", "updates-INITIAL_FORMS": "0"}
    answer = browser.submit(f"{LIST}add/", fields)
    assert answer.status_code == 302, answer.content.decode()
    incident = Incident.objects.get()
    chosen = {"action": "resolve", "_selected_action": str(incident.pk)}
    assert browser.submit(LIST, chosen).status_code == 302
    incident.refresh_from_db()
    assert incident.resolved_at is not None
    assert verbs() == ["incident.open", "incident.resolve"]
    assert set(AuditEvent.objects.values_list("actor_id", flat=True)) == {admin.email}


def test_resolving_twice_counts_once(admin: User) -> None:
    incident = Incident.objects.create(title="Slow")
    browser = Browser().hold_session(admin)
    chosen = {"action": "resolve", "_selected_action": str(incident.pk)}
    browser.submit(LIST, chosen)
    resolved_at = Incident.objects.get().resolved_at
    browser.submit(LIST, chosen)
    assert Incident.objects.get().resolved_at == resolved_at
    assert verbs() == ["incident.resolve"]


def test_an_incident_is_not_deleted(admin: User) -> None:
    incident = Incident.objects.create(title="Slow")
    assert Browser().hold_session(admin).get(f"{LIST}{incident.pk}/delete/").status_code == 403


def test_operators_do_not_write_incidents(db: None) -> None:
    org = Org.objects.create(name="Alpine Compute")
    answer = Browser().hold_session(UserFactory.create(role=Role.OPERATOR, org=org)).get(LIST)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")
