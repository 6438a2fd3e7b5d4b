"""Staff write incidents in Django admin; each change leaves its audit row."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from jatevo.overview.models import Incident, IncidentUpdate
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


def test_what_cannot_be_is_refused_in_a_sentence_at_its_field(admin: User) -> None:
    """The form itself does not hold when the incident was resolved: the database refused, with a 500."""
    start = timezone.now() - timedelta(days=1)
    incident = Incident.objects.create(title="Slow", starts_at=start, resolved_at=start + timedelta(hours=1))
    browser = Browser().hold_session(admin)
    path = f"{LIST}{incident.pk}/change/"

    def refused(at: datetime, **more: str) -> str:
        fields = {"kind": "incident", "severity": "info", "title": "Slow", "updates-INITIAL_FORMS": "0"}
        fields |= {"starts_at_0": f"{at:%Y-%m-%d}", "starts_at_1": f"{at:%H:%M:%S}"}
        answer = browser.submit(path, {**fields, "updates-TOTAL_FORMS": "0", **more})
        assert answer.status_code == 200
        return str(answer.content.decode())

    assert "An incident cannot be resolved before it began." in refused(start + timedelta(hours=2))
    assert "An incident cannot begin in the future" in refused(start + timedelta(days=2))
    tomorrow = timezone.now() + timedelta(days=1)
    update = {"updates-TOTAL_FORMS": "1", "updates-0-state": "monitoring", "updates-0-text": "Better."}
    update |= {"updates-0-at_0": f"{tomorrow:%Y-%m-%d}", "updates-0-at_1": "00:00:00"}
    assert "it cannot come from the future." in refused(start, **update)
    assert verbs() == []


def test_an_update_in_the_admin_resolves_and_the_course_stays_as_it_was_said(admin: User) -> None:
    start = timezone.now().replace(microsecond=0) - timedelta(hours=2)
    incident = Incident.objects.create(title="Slow", starts_at=start)
    said = IncidentUpdate.objects.create(incident=incident, at=start, text="Slow.", by="first@example.org")
    end = start + timedelta(hours=1)
    fields = {"kind": "incident", "severity": "info", "title": "Slow"}
    fields |= {"starts_at_0": f"{start:%Y-%m-%d}", "starts_at_1": f"{start:%H:%M:%S}"}
    fields |= {"updates-TOTAL_FORMS": "2", "updates-INITIAL_FORMS": "1", "updates-0-id": str(said.pk)}
    fields |= {
        "updates-0-incident": str(incident.pk),
        "updates-0-text": "rewritten",
        "updates-0-DELETE": "on",
    }
    fields |= {"updates-1-state": "resolved", "updates-1-text": "Mended."}
    fields |= {"updates-1-at_0": f"{end:%Y-%m-%d}", "updates-1-at_1": f"{end:%H:%M:%S}"}
    answer = Browser().hold_session(admin).submit(f"{LIST}{incident.pk}/change/", fields)
    assert answer.status_code == 302, answer.content.decode()
    incident.refresh_from_db()
    assert incident.resolved_at == end
    assert list(incident.updates.values_list("text", "by")) == [
        ("Mended.", admin.email),
        ("Slow.", "first@example.org"),
    ]
    assert verbs() == ["incident.update", "incident.resolve"]


def test_an_incident_is_not_deleted(admin: User) -> None:
    incident = Incident.objects.create(title="Slow")
    assert Browser().hold_session(admin).get(f"{LIST}{incident.pk}/delete/").status_code == 403


def test_operators_do_not_write_incidents(db: None) -> None:
    org = Org.objects.create(name="Alpine Compute")
    answer = Browser().hold_session(UserFactory.create(role=Role.OPERATOR, org=org)).get(LIST)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")
