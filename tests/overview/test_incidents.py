"""Incidents: written by staff with their course, told to everybody, and kind to the nodes that they hit."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from jatevo.accounts.models import Role, User
from jatevo.audit.models import AuditEvent
from jatevo.overview import incident_actions
from jatevo.overview.models import Incident, IncidentKind, IncidentState, IncidentUpdate
from nodes.models import Exemption
from tests.accounts.browser import Browser, text_of
from tests.factories import NodeFactory, UserFactory

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LIST = "/admin/overview/incident/"


@pytest.fixture
def admin() -> User:
    return UserFactory.create(role=Role.ADMIN)


def opened(admin: User, **fields: object) -> Incident:
    incident = Incident(**{"title": "Uplink", "region": "us-east", "starts_at": NOW - HOUR, **fields})
    return incident_actions.open_incident(incident=incident, by=admin, at=NOW)


def test_an_incident_that_exempts_declares_the_window_and_resolving_ends_it(admin: User) -> None:
    incident = opened(admin, exempts_nodes=True)
    window = Exemption.objects.get()
    assert (window.reference, window.region, window.message) == (
        f"incident:{incident.pk}",
        "us-east",
        "Uplink",
    )
    assert (window.starts_at, window.ends_at) == (NOW - HOUR, None)
    assert incident_actions.resolve(incident=incident, by=admin, at=NOW)
    assert not incident_actions.resolve(incident=incident, by=admin, at=NOW + HOUR)
    assert Exemption.objects.get().ends_at == NOW
    assert incident.updates.get().state == IncidentState.RESOLVED


def test_taking_the_exemption_back_withdraws_the_window(admin: User) -> None:
    incident = opened(admin, exempts_nodes=True)
    incident.exempts_nodes = False
    incident_actions.change_incident(incident=incident, fields=["exempts_nodes"], by=admin, at=NOW)
    assert not Exemption.objects.exists()
    verbs = list(AuditEvent.objects.order_by("pk").values_list("verb", flat=True))
    assert verbs == ["incident.open", "exemption.declare", "incident.change", "exemption.withdraw"]


def test_maintenance_exempts_to_its_planned_end(admin: User) -> None:
    opened(
        admin,
        kind=IncidentKind.MAINTENANCE,
        exempts_nodes=True,
        starts_at=NOW + HOUR,
        ends_at=NOW + 2 * HOUR,
    )
    window = Exemption.objects.get()
    assert (window.starts_at, window.ends_at) == (NOW + HOUR, NOW + 2 * HOUR)
    assert not Incident.objects.under_way(at=NOW).exists()
    assert Incident.objects.announced(at=NOW).exists()
    assert Incident.objects.under_way(at=NOW + HOUR).exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": IncidentKind.MAINTENANCE}, "planned end"),
        ({"exempts_nodes": True, "starts_at": NOW + HOUR}, "cannot begin in the future"),
    ],
)
def test_what_an_incident_cannot_be(admin: User, fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        opened(admin, **fields)
    assert not Incident.objects.exists()
    assert not AuditEvent.objects.exists()


def test_an_update_that_says_resolved_resolves(admin: User) -> None:
    incident = opened(admin)
    said = IncidentUpdate(incident=incident, at=NOW, state=IncidentState.RESOLVED, text="New fibre.")
    incident_actions.add_update(update=said, by=admin, at=NOW)
    incident.refresh_from_db()
    assert incident.resolved_at == NOW
    assert incident.updates.get().by == admin.email


def test_staff_write_an_incident_with_its_updates_in_the_admin(admin: User) -> None:
    NodeFactory.create(region="us-east")
    browser = Browser().hold_session(admin)
    start = timezone.now() - HOUR
    fields = {
        "kind": "incident",
        "severity": "major",
        "title": "Uplink",
        "region": "us-east",
        "starts_at_0": f"{start:%Y-%m-%d}",
        "starts_at_1": f"{start:%H:%M:%S}",
        "exempts_nodes": "on",
        "updates-TOTAL_FORMS": "1",
        "updates-INITIAL_FORMS": "0",
        "updates-0-at_0": f"{start:%Y-%m-%d}",
        "updates-0-at_1": f"{start:%H:%M:%S}",
        "updates-0-state": "identified",
        "updates-0-text": "A cut fibre.",
    }
    answer = browser.submit(f"{LIST}add/", fields)
    assert answer.status_code == 302, answer.content.decode()
    incident = Incident.objects.get()
    assert incident.updates.get().by == admin.email
    page = text_of(browser.get(f"{LIST}{incident.pk}/change/"))
    assert "1 nodes in us-east, until it is resolved" in page
    wrong = browser.submit(f"{LIST}add/", {**fields, "kind": "maintenance", "updates-TOTAL_FORMS": "0"})
    assert "Scheduled maintenance has a planned end." in wrong.content.decode()
    assert Incident.objects.count() == 1


def test_the_api_tells_the_course_but_not_who_wrote_it(admin: User) -> None:
    incident = opened(admin, exempts_nodes=True)
    said = IncidentUpdate(incident=incident, at=NOW, state=IncidentState.IDENTIFIED, text="A cut fibre.")
    incident_actions.add_update(update=said, by=admin, at=NOW)
    answer = Browser().get("/v1/incidents?state=open")
    (line,) = answer.json()["results"]
    assert (line["kind"], line["starts_at"], line["exempts_nodes"]) == (
        "incident",
        "2026-06-01T11:00:00Z",
        True,
    )
    assert line["updates"] == [{"at": "2026-06-01T12:00:00Z", "state": "identified", "text": "A cut fibre."}]
    assert admin.email not in answer.content.decode()
    assert Browser().get("/v1/incidents?state=resolved").json()["results"] == []
