"""Every change in Django admin writes an audit row, for all registered models.

The table below says how each change is made through the front door. A registered model or action without a
line here fails the first test, so that no page can be added whose changes are not audited.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob
from waffle.models import Switch

from earnings.models import JtvoRate, ModelLimit, Policy, Rate
from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from jatevo.bus.judging import Fate, Message, Verdict
from jatevo.bus.models import MessageKind, ParkedMessage
from jatevo.bus.parking import park
from jatevo.flags.registry import Flag
from jatevo.overview.models import Incident
from nodes.models import Node, Validator
from receipts.models import Gateway
from tests.accounts.browser import Browser
from tests.accounts.people import PASSWORD
from tests.factories import GatewayFactory, NodeFactory, OrgFactory, UserFactory, ValidatorFactory

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "a much better passphrase"
SECRETS = ("argon2", "whsec_", "jve_", "/reset-password/", PASSWORD, NEW_PASSWORD)


@dataclass(frozen=True)
class Taken:
    """A change that was made: the subject that its audit row must name, and the text that it must contain."""

    subject: str
    says: str = ""


Take = Callable[[Browser], Taken]
TABLE: dict[tuple[str, str], Take] = {}


def way(label: str, name: str) -> Callable[[Take], Take]:
    def enter(take: Take) -> Take:
        TABLE[label, name] = take
        return take

    return enter


def url(model: Any, page: str = "") -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/{page}"


def sent(answer: Any) -> None:
    assert answer.status_code == 302, answer.context["errors"] if answer.context else answer


def chosen(browser: Browser, action: str, obj: Any, **more: str) -> None:
    fields = {"action": action, "_selected_action": str(obj.pk), **more}
    sent(browser.submit(url(obj), fields))


def person_fields(user: User | None = None, **changed: str) -> dict[str, str]:
    fields = {
        "email": user.email if user else "ada@example.org",
        "name": "Ada",
        "role": "viewer",
        "is_active": "on",
    }
    return {**fields, **changed}


def incident_fields(**changed: str) -> dict[str, str]:
    fields = {"kind": "incident", "severity": "info", "title": "Slow", "exempts_nodes": "on"}
    fields |= {"starts_at_0": "2026-06-01", "starts_at_1": "12:00:00"}
    return {**fields, "updates-TOTAL_FORMS": "0", "updates-INITIAL_FORMS": "0", **changed}


# --- the ways


@way("accounts.User", "add")
def add_person(browser: Browser) -> Taken:
    sent(browser.submit(url(User, "add/"), person_fields(new_password=NEW_PASSWORD)))
    return Taken(str(User.objects.get(email="ada@example.org").pk), "ada@example.org")


@way("accounts.User", "change")
def change_person(browser: Browser) -> Taken:
    user = UserFactory.create(role=Role.VIEWER, org=None)
    sent(browser.submit(url(user, f"{user.pk}/change/"), person_fields(user, name="Ada Lovelace")))
    return Taken(str(user.pk), "Ada Lovelace")


@way("accounts.User", "one_time_link")
def give_link(browser: Browser) -> Taken:
    user = UserFactory.create()
    chosen(browser, "one_time_link", user)
    return Taken(str(user.pk), user.email)


@way("accounts.User", "remove_second_factor")
def take_second_factor(browser: Browser) -> Taken:
    user = UserFactory.create()
    TOTPDevice.objects.create(user=user, name="app", confirmed=True)
    StaticDevice.objects.create(user=user, name="codes", confirmed=True)
    chosen(browser, "remove_second_factor", user)
    assert not TOTPDevice.objects.exists() and not StaticDevice.objects.exists()
    return Taken(str(user.pk))


@way("accounts.Org", "add")
def add_org(browser: Browser) -> Taken:
    sent(browser.submit(url(Org, "add/"), {"name": "Fjord GPUs"}))
    return Taken(str(Org.objects.get(name="Fjord GPUs").pk), "Fjord GPUs")


@way("accounts.Org", "change")
def change_org(browser: Browser) -> Taken:
    org = OrgFactory.create()
    sent(browser.submit(url(org, f"{org.pk}/change/"), {"name": "Fjord GPUs"}))
    return Taken(str(org.pk), "Fjord GPUs")


@way("nodes.Node", "change")
def change_node(browser: Browser) -> Taken:
    node = NodeFactory.create()
    sent(browser.submit(url(node, f"{node.pk}/change/"), {"asn_hint": "AS64500"}))
    return Taken(node.pk, "AS64500")


@way("nodes.Validator", "add")
def add_validator(browser: Browser) -> Taken:
    sent(browser.submit(url(Validator, "add/"), {"id": "validator-7", "is_active": "on"}))
    return Taken("validator-7")


@way("receipts.Gateway", "add")
def add_gateway(browser: Browser) -> Taken:
    sent(browser.submit(url(Gateway, "add/"), {"id": "gateway-7", "is_active": "on"}))
    return Taken("gateway-7")


@way("receipts.Gateway", "change")
def change_gateway(browser: Browser) -> Taken:
    gateway = GatewayFactory.create()
    sent(browser.submit(url(gateway, f"{gateway.pk}/change/"), {}))
    return Taken(gateway.pk, "is_active")


@way("receipts.Gateway", "new_token")
def rotate_gateway(browser: Browser) -> Taken:
    gateway = GatewayFactory.create()
    chosen(browser, "new_token", gateway)
    return Taken(gateway.pk)


@way("nodes.Validator", "change")
def change_validator(browser: Browser) -> Taken:
    validator = ValidatorFactory.create()
    sent(browser.submit(url(validator, f"{validator.pk}/change/"), {}))
    return Taken(validator.pk, "is_active")


@way("nodes.Validator", "new_token")
def new_token(browser: Browser) -> Taken:
    validator = ValidatorFactory.create()
    chosen(browser, "new_token", validator)
    return Taken(validator.pk)


@way("overview.Incident", "add")
def add_incident(browser: Browser) -> Taken:
    sent(browser.submit(url(Incident, "add/"), incident_fields()))
    return Taken(str(Incident.objects.get().pk))


@way("overview.Incident", "change")
def change_incident(browser: Browser) -> Taken:
    incident = Incident.objects.create(title="Slow")
    fields = incident_fields(
        title="Slower",
        starts_at_0=f"{incident.starts_at:%Y-%m-%d}",
        starts_at_1=f"{incident.starts_at:%H:%M:%S}",
    )
    sent(browser.submit(url(incident, f"{incident.pk}/change/"), fields))
    return Taken(str(incident.pk), "Slower")


@way("overview.Incident", "UpdateInline add")
def say_update(browser: Browser) -> Taken:
    said = {"updates-TOTAL_FORMS": "1", "updates-0-state": "monitoring", "updates-0-text": "Better."}
    said |= {"updates-0-at_0": "2026-06-01", "updates-0-at_1": "13:00:00"}
    sent(browser.submit(url(Incident, "add/"), incident_fields(**said)))
    return Taken(str(Incident.objects.get().pk), "monitoring")


@way("overview.Incident", "resolve")
def resolve_incident(browser: Browser) -> Taken:
    incident = Incident.objects.create(title="Slow")
    chosen(browser, "resolve", incident)
    return Taken(str(incident.pk))


@way("overview.Incident", "reopen")
def reopen_incident(browser: Browser) -> Taken:
    incident = Incident.objects.create(title="Slow")
    chosen(browser, "resolve", incident)
    chosen(browser, "reopen", incident)
    return Taken(str(incident.pk))


def switch() -> Switch:
    return Switch.objects.get(name=Flag.SHOW_JTVO_ESTIMATES.value)  # a migration has made it


@way("waffle.Switch", "add")
def add_switch(browser: Browser) -> Taken:
    name = Flag.SHOW_JTVO_ESTIMATES.value
    Switch.objects.all().delete()
    sent(browser.submit(url(Switch, "add/"), {"name": name, "active": "on"}))
    return Taken(str(Switch.objects.get(name=name).pk), name)


@way("waffle.Switch", "change")
def change_switch(browser: Browser) -> Taken:
    row = switch()
    sent(browser.submit(url(row, f"{row.pk}/change/"), {"name": row.name, "note": "Too early."}))
    return Taken(str(row.pk), "'active': [True, False]")


@way("waffle.Switch", "delete")
def delete_switch(browser: Browser) -> Taken:
    row = switch()
    sent(browser.submit(url(row, f"{row.pk}/delete/"), {"post": "yes"}))
    return Taken(str(row.pk), row.name)


@way("waffle.Switch", "delete_selected")
def delete_switches(browser: Browser) -> Taken:
    row = switch()
    chosen(browser, "delete_selected", row, post="yes")
    assert not Switch.objects.filter(pk=row.pk).exists()
    return Taken(str(row.pk), row.name)


def job() -> ProcrastinateJob:
    return ProcrastinateJob.objects.get(pk=app.configure_task("accounts.purge_sessions").defer(timestamp=0))


@way("procrastinate.ProcrastinateJob", "retry")
def retry_job(browser: Browser) -> Taken:
    row = job()
    chosen(browser, "retry", row)
    return Taken(str(row.pk))


@way("procrastinate.ProcrastinateJob", "cancel")
def cancel_job(browser: Browser) -> Taken:
    row = job()
    chosen(browser, "cancel", row)
    assert ProcrastinateJob.objects.get(pk=row.pk).status == "cancelled"
    return Taken(str(row.pk))


@way("procrastinate.ProcrastinateJob", "abort")
def abort_job(browser: Browser) -> Taken:
    row = job()
    chosen(browser, "abort", row)
    return Taken(str(row.pk))


@way("bus.ParkedMessage", "try_selected_again")
def try_parked_message_again(browser: Browser) -> Taken:
    message = Message(MessageKind.RECEIPTS, 1, timezone.now(), 1, {"webhook-id": "msg_1"}, b"{}")
    park(message, Verdict(Fate.REFUSED, "invalid_json", "", "a-node"), at=timezone.now())
    row = ParkedMessage.objects.get()
    chosen(browser, "try_selected_again", row)
    return Taken(str(row.pk), "unauthenticated")


def next_year() -> dict[str, str]:
    return {"holds_from_0": f"{timezone.now().year + 1}-01-01", "holds_from_1": "00:00:00"}


DATED: dict[Any, dict[str, str]] = {
    Rate: {"model": "", "input_usd": "0.1", "output_usd": "0.4", "cache_hit_discount": "0.5"},
    JtvoRate: {"jtvo_per_usd": "12.5", "source": "market"},
    Policy: {
        "threshold_usd": "10",
        "hold_days": "0",
        "schedule": "monthly",
        "schedule_day": "1",
        "minimum_reputation": "50",
    },
    ModelLimit: {"model": "", "output_per_second": "100", "context_tokens": "1000"},
}


def dated_row(browser: Browser, model: Any) -> Any:
    """A row that holds from next year, made through the front door."""
    browser.submit("/account/confirm/", {"identity-current": PASSWORD})
    sent(browser.submit(url(model, "add/"), {**DATED[model], **next_year()}))
    return model.objects.order_by("-pk")[0]


def add_and_delete(model: Any) -> None:
    @way(model._meta.label, "add")
    def add(browser: Browser) -> Taken:
        return Taken(str(dated_row(browser, model).pk), f"{timezone.now().year + 1}-01-01")

    @way(model._meta.label, "delete")
    def delete(browser: Browser) -> Taken:
        row = dated_row(browser, model)
        sent(browser.submit(url(row, f"{row.pk}/delete/"), {"post": "yes"}))
        assert not model.objects.filter(pk=row.pk).exists()
        return Taken(str(row.pk), str(row))


for dated in DATED:
    add_and_delete(dated)


# --- the walk


def request_of_an_admin() -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = User(email="the.admin@example.org", role=Role.ADMIN)
    return request


def ways_of(model_admin: "ModelAdmin[Any]") -> set[str]:
    """Every change that the model's admin pages allow."""
    request = request_of_an_admin()
    ways = set(model_admin.get_actions(request))
    for name in ("add", "change", "delete"):
        if getattr(model_admin, f"has_{name}_permission")(request):
            ways.add(name)
    for inline in model_admin.get_inline_instances(request):
        for name in ("add", "change", "delete"):
            if inline.max_num != 0 and getattr(inline, f"has_{name}_permission")(request, None):
                ways.add(f"{type(inline).__name__} {name}")
    return ways


def test_table_has_every_way_and_no_other() -> None:
    found = {
        (model._meta.label, name)
        for model, model_admin in django_admin.site._registry.items()
        for name in ways_of(model_admin)
    }
    assert found == set(TABLE)


@pytest.mark.parametrize(("label", "name"), sorted(TABLE))
def test_every_change_in_the_admin_is_on_record(label: str, name: str) -> None:
    by = UserFactory.create(role=Role.ADMIN, email="the.admin@example.org")
    taken = TABLE[label, name](Browser().hold_session(by))
    rows = list(AuditEvent.objects.filter(actor_user_id=by.pk, subject_id=taken.subject))
    assert rows, list(AuditEvent.objects.values_list("verb", "subject_id"))
    assert all(row.actor_id == by.email for row in rows)
    text = str([row.details for row in rows])
    assert taken.says in text
    assert not [secret for secret in SECRETS if secret in text]


def test_grants_of_single_nodes_are_on_record() -> None:
    by, partner, node = (
        UserFactory.create(role=Role.ADMIN),
        UserFactory.create(role=Role.VIEWER),
        NodeFactory.create(),
    )
    browser = Browser().hold_session(by)
    page = url(Node, f"{node.pk}/permissions/user-manage/{partner.pk}/")
    sent(browser.submit(page, {"permissions": "view_node"}))
    sent(browser.submit(page, {}))
    given, taken = AuditEvent.objects.filter(verb="node.grant").order_by("id")
    assert given.details == {"person": partner.email, "granted": ["view_node"], "taken": []}
    assert taken.details == {"person": partner.email, "granted": [], "taken": ["view_node"]}
    assert {given.subject_id, taken.subject_id} == {node.pk} and given.actor_user_id == by.pk


def test_no_page_of_the_admin_shows_a_second_factors_secret() -> None:
    owner, reader = UserFactory.create(role=Role.ADMIN), UserFactory.create(role=Role.ADMIN)
    device = TOTPDevice.objects.create(user=owner, name="app", confirmed=True)
    codes = StaticDevice.objects.create(user=owner, name="codes", confirmed=True)
    codes.token_set.create(token="135790")
    browser = Browser().hold_session(reader)
    for path in (
        "otp_totp/totpdevice/",
        f"otp_totp/totpdevice/{device.pk}/change/",
        f"otp_static/staticdevice/{codes.pk}/change/",
    ):
        assert browser.get(f"/admin/{path}").status_code == 404
    for path in ("", "accounts/user/", f"accounts/user/{owner.pk}/change/"):
        page = browser.get(f"/admin/{path}").content.decode()
        assert device.key not in page and "135790" not in page


def test_flag_that_does_not_exist_cannot_be_made() -> None:
    browser = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    assert browser.submit(url(Switch, "add/"), {"name": "made_up", "active": "on"}).status_code == 200
    assert not Switch.objects.filter(name="made_up").exists()
