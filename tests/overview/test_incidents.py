"""Incidents: staff write their updates, everyone can read them, and affected nodes are exempt."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from jatevo.accounts.models import Role, User
from jatevo.audit.models import AuditEvent
from jatevo.overview import incident_actions
from jatevo.overview.models import Incident, IncidentKind, IncidentState, IncidentUpdate
from nodes.actions import recompute_days
from nodes.models import Exemption, NodeHour, PendingJudgement
from nodes.rules.lifecycle import Status
from nodes.tasks import judge_again
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
        ({"starts_at": NOW + HOUR}, "cannot start in the future"),
        (
            {"kind": IncidentKind.MAINTENANCE, "starts_at": NOW, "ends_at": NOW - HOUR},
            "planned end must come after",
        ),
        ({"resolved_at": NOW - 2 * HOUR}, "cannot be resolved before it began"),
    ],
)
def test_what_an_incident_cannot_be(admin: User, fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        opened(admin, **fields)
    assert not Incident.objects.exists()
    assert not AuditEvent.objects.exists()


def test_cancelled_maintenance_exempts_no_node(admin: User) -> None:
    planned = opened(
        admin,
        kind=IncidentKind.MAINTENANCE,
        exempts_nodes=True,
        starts_at=NOW + HOUR,
        ends_at=NOW + 2 * HOUR,
    )
    assert incident_actions.resolve(incident=planned, by=admin, at=NOW)
    planned.refresh_from_db()
    assert (planned.resolved_at, planned.called_off) == (NOW, True)
    assert planned.updates.get().text == "Cancelled."
    assert not Exemption.objects.exists()
    assert not Incident.objects.under_way(at=NOW + HOUR).exists()
    page = text_of(Browser().get(f"/status/incidents/{planned.pk}/"))
    assert "Cancelled" in page
    assert "lose no reputation" not in page


def maintenance(admin: User, **fields: object) -> Incident:
    return opened(
        admin, **{"kind": IncidentKind.MAINTENANCE, "starts_at": NOW, "ends_at": NOW + HOUR, **fields}
    )


def test_maintenance_is_over_at_its_planned_end_by_itself(admin: User) -> None:
    planned = maintenance(admin, starts_at=NOW - HOUR)
    later = NOW + 3 * HOUR
    assert [
        (Incident.objects.open(at=at).exists(), Incident.objects.resolved(at=at).exists())
        for at in (NOW, NOW + HOUR)
    ] == [(True, False), (False, True)]
    assert [Incident.objects.under_way(at=at).exists() for at in (NOW, NOW + HOUR)] == [True, False]
    assert not incident_actions.resolve(incident=planned, by=admin, at=later)
    thanks = IncidentUpdate(incident=planned, at=later, state=IncidentState.RESOLVED, text="Thank you.")
    incident_actions.add_update(update=thanks, by=admin, at=later)
    assert Incident.objects.get().resolved_at is None
    assert Exemption.objects.get().ends_at == NOW + HOUR
    page = text_of(Browser().get(f"/status/incidents/{planned.pk}/"))
    assert "Ended as planned" in page
    assert "as planned." in page


def test_maintenance_that_ended_as_planned_does_not_begin_again_as_an_incident(admin: User) -> None:
    planned = maintenance(admin)
    planned.kind = IncidentKind.INCIDENT
    with pytest.raises(ValidationError, match="The planned end is in the past"):
        incident_actions.change_incident(incident=planned, fields=["kind"], by=admin, at=NOW + 2 * HOUR)
    assert Exemption.objects.get().ends_at == NOW + HOUR


def test_maintenance_that_takes_longer_is_extended_also_late(admin: User) -> None:
    planned = maintenance(admin)
    planned.ends_at = NOW + 4 * HOUR
    incident_actions.change_incident(incident=planned, fields=["ends_at"], by=admin, at=NOW + 2 * HOUR)
    assert Incident.objects.under_way(at=NOW + 3 * HOUR).exists()
    assert Exemption.objects.get().ends_at == NOW + 4 * HOUR


def test_maintenance_that_ran_over_exempts_to_its_real_end_once_that_is_stated(admin: User) -> None:
    planned = maintenance(admin)
    incident_actions.change_end(incident=planned, ended_at=NOW + 2 * HOUR, by=admin, at=NOW + 3 * HOUR)
    assert Exemption.objects.get().ends_at == NOW + 2 * HOUR


def test_maintenance_that_was_done_early_ends_when_an_update_says_so(admin: User) -> None:
    planned = maintenance(admin, ends_at=NOW + 4 * HOUR)
    done = IncidentUpdate(incident=planned, at=NOW + HOUR, state=IncidentState.RESOLVED, text="Done.")
    incident_actions.add_update(update=done, by=admin, at=NOW + 5 * HOUR)
    assert Exemption.objects.get().ends_at == NOW + HOUR


def test_maintenance_under_way_cannot_be_called_off(admin: User) -> None:
    """An update dated before the start did so, and deleted the exemption."""
    planned = maintenance(admin, starts_at=NOW + HOUR, ends_at=NOW + 4 * HOUR)
    said = IncidentUpdate(incident=planned, at=NOW, state=IncidentState.RESOLVED, text="Done.")
    with pytest.raises(ValidationError, match="It began at 1 Jun 2026, 13:00 UTC"):
        incident_actions.add_update(update=said, by=admin, at=NOW + 2 * HOUR)
    with pytest.raises(ValidationError, match="cannot be cancelled"):
        incident_actions.change_end(incident=planned, ended_at=NOW, by=admin, at=NOW + 2 * HOUR)
    assert Incident.objects.get().resolved_at is None
    assert Exemption.objects.exists()
    incident_actions.add_update(update=said, by=admin, at=NOW)  # before it begins
    assert Incident.objects.get().called_off


def test_reopening_lasts_and_exempts_as_if_it_had_never_ended(admin: User) -> None:
    incident = opened(admin)
    assert not incident_actions.reopen(incident=incident, by=admin, at=NOW)
    incident_actions.resolve(incident=incident, by=admin, at=NOW)
    assert incident_actions.reopen(incident=incident, by=admin, at=NOW + HOUR)
    assert Incident.objects.under_way(at=NOW + HOUR).exists()
    assert Exemption.objects.get().ends_at is None
    latest = incident.updates.first()
    assert latest is not None
    assert (latest.at, latest.state, latest.text) == (
        NOW + HOUR,
        IncidentState.INVESTIGATING,
        "Reopened. It is still going on.",
    )
    event = AuditEvent.objects.get(verb="incident.reopen")
    assert event.details["ended_at_before"] == NOW.isoformat()


def test_a_corrected_end_judges_the_old_and_the_new_window_again(admin: User) -> None:
    incident = opened(admin, starts_at=NOW - 9 * HOUR)
    incident_actions.resolve(incident=incident, by=admin, at=NOW)
    PendingJudgement.objects.all().delete()
    end = NOW - 6 * HOUR
    incident_actions.change_end(incident=incident, ended_at=end, by=admin, at=NOW + HOUR)
    assert Exemption.objects.get().ends_at == end
    until = sorted(PendingJudgement.objects.values_list("until", flat=True))
    assert len(until) == 2
    assert until[0] < NOW <= until[1]
    event = AuditEvent.objects.get(verb="incident.change_end")
    assert (event.details["ended_at_before"], event.details["ended_at"]) == (
        NOW.isoformat(),
        end.isoformat(),
    )
    incident_actions.change_end(incident=incident, ended_at=end, by=admin, at=NOW + HOUR)
    assert AuditEvent.objects.filter(verb="incident.change_end").count() == 1


@pytest.mark.parametrize(
    ("ended_at", "said"),
    [(NOW + HOUR, "The end cannot be in the future"), (NOW - 2 * HOUR, "cannot be resolved before it began")],
)
def test_what_an_end_cannot_be(admin: User, ended_at: datetime, said: str) -> None:
    incident = opened(admin)
    with pytest.raises(ValidationError, match=said):
        incident_actions.change_end(incident=incident, ended_at=ended_at, by=admin, at=NOW)
    assert Incident.objects.get().resolved_at is None


def test_words_that_go_on_after_the_end_are_refused_until_it_is_reopened(admin: User) -> None:
    incident = opened(admin)
    incident_actions.resolve(incident=incident, by=admin, at=NOW)

    def say(at: datetime, state: IncidentState = IncidentState.INVESTIGATING) -> None:
        update = IncidentUpdate(incident=incident, at=at, state=state, text="It is back.")
        incident_actions.add_update(update=update, by=admin, at=NOW + HOUR)

    with pytest.raises(ValidationError, match="It ended at 1 Jun 2026, 12:00 UTC"):
        say(NOW + HOUR)
    with pytest.raises(ValidationError, match="If that is wrong, correct"):
        say(NOW - HOUR / 2, IncidentState.RESOLVED)
    say(NOW - HOUR / 2)  # told late
    say(NOW + HOUR, IncidentState.RESOLVED)  # what came of it
    assert Incident.objects.get().resolved_at == NOW
    incident_actions.reopen(incident=incident, by=admin, at=NOW + HOUR)
    say(NOW + HOUR)
    assert incident.updates.count() == 5


def test_incidents_exempt_unless_staff_say_otherwise(admin: User) -> None:
    opened(admin)
    opened(admin, region="")
    opened(admin, exempts_nodes=False)
    assert Exemption.objects.count() == 2


def test_every_visible_change_updates_changed_at(admin: User) -> None:
    planned = maintenance(admin, starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    moments = [Incident.objects.get().changed_at]
    planned.title, at = "New switches", NOW + HOUR / 6
    incident_actions.change_incident(incident=planned, fields=["title"], by=admin, at=at)
    moments.append(Incident.objects.get().changed_at)
    at = NOW + HOUR / 5
    said = IncidentUpdate(incident=planned, at=NOW, state=IncidentState.SCHEDULED, text="Tonight.")
    incident_actions.add_update(update=said, by=admin, at=at)
    moments.append(Incident.objects.get().changed_at)
    incident_actions.resolve(incident=planned, by=admin, at=NOW + HOUR / 4)
    moments.append(Incident.objects.get().changed_at)
    incident_actions.reopen(incident=planned, by=admin, at=NOW + HOUR / 3)
    moments.append(Incident.objects.get().changed_at)
    assert moments == [NOW, NOW + HOUR / 6, NOW + HOUR / 5, NOW + HOUR / 4, NOW + HOUR / 3]
    incident_actions.change_incident(incident=planned, fields=["title"], by=admin, at=NOW + HOUR / 2)
    assert Incident.objects.get().changed_at == NOW + HOUR / 3


def test_a_change_stores_what_it_names_and_does_not_reopen(admin: User) -> None:
    incident = opened(admin, exempts_nodes=True)
    seen_before = Incident.objects.get()
    incident_actions.resolve(incident=incident, by=admin, at=NOW)
    seen_before.title, seen_before.region = "Uplink in Virginia", "never saved"
    incident_actions.change_incident(incident=seen_before, fields=["title"], by=admin, at=NOW + HOUR)
    stored = Incident.objects.get()
    assert (stored.title, stored.region, stored.resolved_at) == ("Uplink in Virginia", "us-east", NOW)
    assert Exemption.objects.get().ends_at == NOW


def test_a_change_that_keeps_the_window_declares_no_new_exemption(admin: User) -> None:
    incident = opened(admin, exempts_nodes=True)
    incident.description = "More is known."
    incident_actions.change_incident(incident=incident, fields=["description", "title"], by=admin, at=NOW)
    incident_actions.change_incident(incident=incident, fields=[], by=admin, at=NOW)
    verbs = list(AuditEvent.objects.order_by("pk").values_list("verb", flat=True))
    assert verbs == ["incident.open", "exemption.declare", "incident.change"]


def test_an_exemption_for_the_past_gives_back_what_was_lost_and_withdrawing_takes_it(admin: User) -> None:
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    node = NodeFactory.create(region="us-east", status=Status.ACTIVE, first_heard_at=midnight)
    for number in range(6):
        NodeHour.objects.create(
            node=node, hour=midnight + number * HOUR, heard=0 if number >= 2 else (1 << 60) - 1
        )
    recompute_days(since=midnight, until=timezone.now(), at=timezone.now(), node_ids=[node.pk])

    def judged() -> Decimal:
        judge_again()  # what the worker does
        node.refresh_from_db()
        assert node.reputation is not None
        return node.reputation

    before = judged()
    incident = Incident(title="Uplink", region="us-east", exempts_nodes=True, starts_at=midnight + 2 * HOUR)
    incident_actions.open_incident(incident=incident, by=admin, at=timezone.now())
    spared = judged()
    incident.exempts_nodes = False
    incident_actions.change_incident(incident=incident, fields=["exempts_nodes"], by=admin, at=timezone.now())
    assert judged() == before < spared


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": " "}, "Enter what happened"),
        ({"at": NOW + HOUR}, "cannot be in the future"),
        ({"at": NOW - 400 * 24 * HOUR}, "cannot be earlier"),
        ({"state": IncidentState.SCHEDULED}, "Only maintenance can be scheduled"),
    ],
)
def test_what_an_update_cannot_be(admin: User, fields: dict[str, object], said: str) -> None:
    update = IncidentUpdate(**{"incident": opened(admin), "at": NOW, "text": "A cut fibre.", **fields})
    with pytest.raises(ValidationError, match=said):
        incident_actions.add_update(update=update, by=admin, at=NOW)
    assert not IncidentUpdate.objects.exists()


def test_before_maintenance_begins_it_is_announced_or_called_off(admin: User) -> None:
    planned = maintenance(admin, starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)

    def say(state: IncidentState) -> None:
        update = IncidentUpdate(incident=planned, at=NOW, state=state, text="Tonight.")
        incident_actions.add_update(update=update, by=admin, at=NOW)

    with pytest.raises(ValidationError, match="It has not started"):
        say(IncidentState.INVESTIGATING)
    say(IncidentState.SCHEDULED)
    say(IncidentState.RESOLVED)
    assert Incident.objects.get().called_off
    update = IncidentUpdate(incident=planned, at=NOW + HOUR / 2, state=IncidentState.MONITORING, text="Oh.")
    with pytest.raises(ValidationError, match="It was cancelled at 1 Jun 2026, 12:00 UTC"):
        incident_actions.add_update(update=update, by=admin, at=NOW + HOUR / 2)


def test_the_number_of_exempt_nodes_is_kept_from_strangers_while_it_is_small(admin: User) -> None:
    NodeFactory.create_batch(4, region="us-east", status=Status.ACTIVE)
    NodeFactory.create_batch(2, region="us-east", status=Status.OFFLINE)
    incident = opened(admin, exempts_nodes=True)
    path = f"/status/incidents/{incident.pk}/"
    operator, viewer = (
        Browser().hold_session(UserFactory.create(role=role)) for role in (Role.OPERATOR, Role.VIEWER)
    )
    assert "6 nodes in us-east lose no reputation" in text_of(operator.get(path))
    for stranger in (viewer, Browser()):
        assert "The nodes in us-east lose no reputation" in text_of(stranger.get(path))
    NodeFactory.create(region="us-east", status=Status.ACTIVE)
    assert "7 nodes in us-east lose no reputation" in text_of(Browser().get(path))
    incident_actions.resolve(incident=incident, by=admin, at=NOW)
    assert "from 1 Jun 2026, 11:00 UTC to 1 Jun 2026, 12:00 UTC." in text_of(Browser().get(path))


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
    assert "1 node in us-east loses no reputation from" in page
    assert "until it is resolved." in page
    wrong = browser.submit(f"{LIST}add/", {**fields, "kind": "maintenance", "updates-TOTAL_FORMS": "0"})
    assert "Scheduled maintenance needs a planned end." in wrong.content.decode()
    assert Incident.objects.count() == 1


def test_the_api_has_the_updates_but_not_their_authors(admin: User) -> None:
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
