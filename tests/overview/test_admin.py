"""Staff write incidents in Django admin, and each change is audited."""

import re
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from jatevo.overview.models import Incident, IncidentUpdate
from nodes.models import Exemption
from tests.accounts.browser import Browser, text_of
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
    """The form does not have the time of resolution, so the database refused it with a 500."""
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
    assert "An incident cannot start in the future" in refused(start + timedelta(days=2))
    later = timezone.now() + timedelta(days=2)
    update = {"updates-TOTAL_FORMS": "1", "updates-0-state": "monitoring", "updates-0-text": "Better."}
    update |= {"updates-0-at_0": f"{later:%Y-%m-%d}", "updates-0-at_1": "00:00:00"}
    assert "An update cannot be in the future." in refused(start, **update)
    assert verbs() == []


def test_an_update_in_the_admin_resolves_and_the_course_stays_as_it_was_said(admin: User) -> None:
    start = timezone.now().replace(microsecond=0) - timedelta(hours=2)
    incident = Incident.objects.create(title="Slow", starts_at=start)
    said = IncidentUpdate.objects.create(incident=incident, at=start, text="Slow.", by="first@example.org")
    end = start + timedelta(hours=1)
    fields = {"kind": "incident", "severity": "info", "title": "Slow", "exempts_nodes": "on"}
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


def form(**fields: object) -> dict[str, str]:
    """The data of the form: times as two fields, updates only if given as (at, state, text)."""
    posted = {"kind": "incident", "severity": "warn", "title": "Uplink", "exempts_nodes": "on"}
    updates = fields.pop("updates", [])
    assert isinstance(updates, list)
    posted |= {"updates-TOTAL_FORMS": str(len(updates)), "updates-INITIAL_FORMS": "0"}
    for number, (at, state, text) in enumerate(updates):
        fields |= {f"updates-{number}-at": at}
        posted |= {f"updates-{number}-state": state, f"updates-{number}-text": text}
    for name, value in fields.items():
        if isinstance(value, datetime):
            posted |= {f"{name}_0": f"{value:%Y-%m-%d}", f"{name}_1": f"{value:%H:%M:%S}"}
        else:
            posted[name] = str(value)
    return posted


@pytest.fixture
def noon() -> datetime:
    return timezone.now().replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)


def change(browser: Browser, incident: Incident, **fields: object) -> None:
    answer = browser.submit(f"{LIST}{incident.pk}/change/", form(**fields))
    assert answer.status_code == 302, answer.content.decode()
    incident.refresh_from_db()


def test_the_box_that_exempts_is_ticked_and_says_what_it_does(admin: User) -> None:
    page = text_of(Browser().hold_session(admin).get(f"{LIST}add/"))
    box = re.search(r'<input type="checkbox" name="exempts_nodes"[^>]*>', page)
    assert box
    assert "checked" in box[0]
    assert "lose no reputation from the start to the end" in page
    assert "Shown to everyone, even for a small region" in page
    assert "DatabaseDefault" not in page


def test_trouble_that_is_over_is_declared_with_its_window(admin: User, noon: datetime) -> None:
    end = noon + timedelta(hours=2)
    answer = Browser().hold_session(admin).submit(f"{LIST}add/", form(starts_at=noon, resolved_at=end))
    assert answer.status_code == 302, answer.content.decode()
    incident, window = Incident.objects.get(), Exemption.objects.get()
    assert (incident.starts_at, incident.resolved_at) == (window.starts_at, window.ends_at) == (noon, end)
    assert [(each.at, each.state, each.text) for each in incident.updates.all()] == [
        (end, "resolved", "Resolved.")
    ]
    assert verbs() == ["incident.open", "incident.resolve"]


def test_staffs_resolving_update_replaces_the_consoles_own(admin: User, noon: datetime) -> None:
    end = noon + timedelta(hours=2)
    said = [(end, "resolved", "New fibre."), (noon, "identified", "A cut fibre.")]
    answer = (
        Browser()
        .hold_session(admin)
        .submit(f"{LIST}add/", form(starts_at=noon, resolved_at=end, updates=said))
    )
    assert answer.status_code == 302, answer.content.decode()
    incident = Incident.objects.get()
    assert [each.text for each in incident.updates.all()] == ["New fibre.", "A cut fibre."]
    assert incident.resolved_at == end
    assert verbs() == ["incident.open", "incident.resolve", "incident.update", "incident.update"]


def test_an_estimate_that_is_past_is_not_taken_for_an_end(admin: User, noon: datetime) -> None:
    """It was stored without an end, so it exempted nodes until someone noticed."""
    answer = Browser().hold_session(admin).submit(f"{LIST}add/", form(starts_at=noon, ends_at=timezone.now()))
    assert "enter “ended at” instead" in text_of(answer)
    assert not Incident.objects.exists()
    assert not Exemption.objects.exists()


def test_the_end_is_corrected_and_taken_back_in_the_form(admin: User, noon: datetime) -> None:
    browser, hour = Browser().hold_session(admin), timedelta(hours=1)
    browser.submit(f"{LIST}add/", form(starts_at=noon, resolved_at=noon + 5 * hour))
    incident = Incident.objects.get()
    # the whole window later, by more than its length
    change(browser, incident, starts_at=noon + 6 * hour, resolved_at=noon + 7 * hour)
    window = Exemption.objects.get()
    assert (window.starts_at, window.ends_at) == (noon + 6 * hour, noon + 7 * hour)
    assert incident.resolved_at == noon + 7 * hour
    assert f"Corrected: it ended at {noon + 7 * hour:%-d %b %Y, %H:%M} UTC." in [
        update.text for update in incident.updates.all()
    ]
    shown = form(starts_at=noon + 6 * hour)
    shown |= {"initial-resolved_at_0": f"{noon:%Y-%m-%d}", "initial-resolved_at_1": "19:00:00"}
    assert browser.submit(f"{LIST}{incident.pk}/change/", shown).status_code == 302
    incident.refresh_from_db()
    assert incident.resolved_at is None
    assert Exemption.objects.get().ends_at is None
    assert verbs() == [
        "incident.open",
        "incident.resolve",
        "incident.change",
        "incident.change_end",
        "incident.reopen",
    ]


def test_a_form_loaded_before_the_incident_was_resolved_does_not_reopen_it(
    admin: User, noon: datetime
) -> None:
    browser = Browser().hold_session(admin)
    browser.submit(f"{LIST}add/", form(starts_at=noon))
    incident = Incident.objects.get()
    page = text_of(browser.get(f"{LIST}{incident.pk}/change/"))
    assert 'name="initial-resolved_at_0"' in page
    browser.submit(LIST, {"action": "resolve", "_selected_action": str(incident.pk)})
    change(browser, incident, starts_at=noon, title="Uplink in Virginia", resolved_at_0="", resolved_at_1="")
    assert incident.title == "Uplink in Virginia"
    assert incident.resolved_at is not None


def test_updates_of_one_form_are_taken_as_they_happened(admin: User, noon: datetime) -> None:
    hour = timedelta(hours=1)
    late = [(noon + hour, "resolved", "Mended."), (noon + 2 * hour, "monitoring", "It goes on.")]
    browser = Browser().hold_session(admin)
    answer = browser.submit(f"{LIST}add/", form(starts_at=noon, updates=late))
    assert "If it is still going on, reopen it" in text_of(answer)
    assert not Incident.objects.exists()
    course = [(noon + 2 * hour, "resolved", "Mended."), (noon + hour, "monitoring", "Better.")]
    assert browser.submit(f"{LIST}add/", form(starts_at=noon, updates=course)).status_code == 302
    assert Incident.objects.get().resolved_at == noon + 2 * hour


def test_a_decision_made_meanwhile_is_shown_and_nothing_is_saved(
    admin: User, noon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forms were valid, but the incident had changed before it was locked."""
    incident = Incident.objects.create(title="Uplink", starts_at=noon, resolved_at=noon)
    monkeypatch.setattr("jatevo.overview.admin.UpdateFormSet.clean", lambda formset: None)
    said = [(timezone.now(), "monitoring", "It goes on.")]
    browser = Browser().hold_session(admin)
    path = f"{LIST}{incident.pk}/change/"
    answer = browser.submit(path, form(starts_at=noon, title="Other", updates=said))
    assert answer.headers["Location"] == path
    assert "Nothing was saved: It ended at" in text_of(browser.get(path))
    assert Incident.objects.get().title == "Uplink"
    assert verbs() == []


def test_the_list_shows_ends_and_reopenings(admin: User, noon: datetime) -> None:
    hour = timedelta(hours=1)
    browser = Browser().hold_session(admin)
    over = Incident.objects.create(title="over-1", starts_at=noon, resolved_at=noon + hour)
    planned = {"kind": "maintenance", "starts_at": noon, "ends_at": noon + hour}
    Incident.objects.create(title="planned-1", **planned)
    kept = Incident.objects.create(title="planned-2", **planned, resolved_at=noon)
    Incident.objects.create(title="lasts-1", starts_at=noon)
    Incident.objects.create(title="W" * 140, starts_at=noon)
    page = text_of(browser.get(LIST))
    assert "13:00 UTC, as planned" in page
    assert "W" * 59 + "…" in page  # the other columns need room too
    Incident.objects.filter(title="W" * 140).delete()
    still, past = (text_of(browser.get(f"{LIST}?state={state}")) for state in ("open", "over"))
    titles = ["over-1", "planned-1", "planned-2", "lasts-1"]
    assert [title in still for title in titles] == [False, False, False, True]
    assert [title in past for title in titles] == [True, True, True, False]
    refused = "“planned-2”: To reopen it, set a planned end in the future."
    for chosen, said in ((over, "1 reopened."), (kept, refused)):
        browser.submit(LIST, {"action": "reopen", "_selected_action": str(chosen.pk)})
        assert said in text_of(browser.get(LIST))
    assert set(Incident.objects.open().values_list("title", flat=True)) == {"over-1", "lasts-1"}
