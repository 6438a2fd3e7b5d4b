"""/run-a-node/ through the front door: from the platform to the first receipt."""

import html
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.utils import timezone
from jatevo_agent.config import load_config

from jatevo.accounts.models import Org, Role
from jatevo.audit.record import Actor
from nodes.actions import Measurement, Registration, happen, move, record_probe, register
from nodes.models import Enrollment, Node
from nodes.rules.credentials import enrollment_digest
from nodes.rules.lifecycle import Event
from nodes.rules.probes import ProbeKind
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory, ValidatorFactory, signing_key_of

pytestmark = pytest.mark.django_db
ANSWERS = {
    "platform": "mac",
    "node_id": "macbook-001",
    "region": "ap-southeast",
    "runtime": "ollama",
    "models": "llama3.1-8b, qwen2.5:7b",
    "endpoint": "http://127.0.0.1:11435",
    "wallet_chain": "solana",
    "wallet_address": "7xKXtg2CW87d97TX",
}
POLL = {"HX-Request": "true", "HX-Target": "checklist"}


def text_of(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status, answer.content
    return str(answer.content.decode())


def enrol(browser: Browser, **changes: str) -> tuple[Enrollment, str, str]:
    """Submits the form. Returns the enrolment, its token and the page."""
    page = text_of(browser.submit("/run-a-node/?platform=mac", {**ANSWERS, **changes}), 201)
    return Enrollment.objects.latest("created_at"), token_in(page), page


def token_in(page: str) -> str:
    found = re.search(r"jve_[A-Za-z0-9_-]{20,}", page)
    assert found, "the page shows no token"
    return found[0]


def config_in(page: str) -> Any:
    found = re.search(r'<code id="agent-yaml">(.*?)</code>', page, re.DOTALL)
    assert found
    return yaml.safe_load(html.unescape(found[1]))


def states_in(fragment: str) -> list[str]:
    return re.findall(
        r'<span class="sr-only">: (Done|In progress|Not yet|Failed|Needs attention)</span>', fragment
    )


def registered(token: str, org: Org, node_id: str = "macbook-001") -> Node:
    wanted = Registration(
        node_id=node_id,
        region="ap-southeast",
        runtime="ollama",
        public_key=bytes(signing_key_of(node_id).verify_key),
        attestation={},
        endpoint="http://127.0.0.1:11435",
    )
    node, _ = register(token=token, registration=wanted, at=timezone.now())
    return node


@pytest.mark.parametrize("method", ["get", "post"])
def test_only_those_who_may_enrol_get_in(method: str) -> None:
    assert Browser().get("/run-a-node/").status_code == 302
    viewer = Browser().hold_session(make_user(Role.VIEWER))
    assert getattr(viewer, method)("/run-a-node/", headers=viewer.csrf).status_code == 403
    assert Enrollment.objects.count() == 0


def test_the_first_step_offers_three_platforms_as_links(operator: Browser) -> None:
    page = text_of(operator.get("/run-a-node/"))
    for platform in ("mac", "linux", "nvidia"):
        assert f'href="?platform={platform}"' in page
    assert "csrfmiddlewaretoken" in page  # the sign-out form
    assert 'name="node_id"' not in page


@pytest.mark.parametrize(
    ("platform", "runtime"), [("mac", "ollama"), ("linux", "ollama"), ("nvidia", "vllm")]
)
def test_the_second_step_is_filled_in_by_the_platform(
    operator: Browser, org: Org, platform: str, runtime: str
) -> None:
    NodeFactory.create(org=org, region="eu-north")
    page = text_of(operator.get(f"/run-a-node/?platform={platform}"))
    assert f'<option value="{runtime}" selected>' in page
    assert '<option value="eu-north"></option>' in page  # among the suggestions
    assert 'value="eu-north"' in page.split('name="region"')[1].split(">")[0]


def test_the_suggested_node_id_is_neither_taken_nor_requested(operator: Browser) -> None:
    NodeFactory.create(id="macbook-001")
    enrol(operator, node_id="macbook-002")
    assert 'value="macbook-003"' in text_of(operator.get("/run-a-node/?platform=mac"))


def test_the_enrolment_is_the_orgs_and_the_file_is_one_that_the_agent_takes(
    operator: Browser, org: Org, tmp_path: Path
) -> None:
    enrollment, token, page = enrol(operator)
    assert (enrollment.org_id, enrollment.node_id) == (org.pk, "macbook-001")
    assert bytes(enrollment.token_sha256) == enrollment_digest(token)
    path = tmp_path / "agent.yaml"
    path.write_text(yaml.safe_dump(config_in(page)))
    config = load_config(path, environment={})
    assert config.console == settings.BASE_URL
    assert config.enrollment_token == token
    assert config.models == ("llama3.1-8b", "qwen2.5:7b")
    assert config.wallet is not None
    assert config.wallet.address == "7xKXtg2CW87d97TX"


def test_the_token_is_in_no_later_page(operator: Browser) -> None:
    enrollment, token, _ = enrol(operator)
    page = text_of(operator.get(f"/run-a-node/{enrollment.pk}/"))
    assert token not in page
    assert "The command was shown once" in page
    config = config_in(page)
    assert "enrollment_token" not in config
    assert config["wallet"]["address"] == "7xKXtg2CW87d97TX"  # this browser remembers the rest
    assert token not in text_of(operator.get("/run-a-node/"))


def test_no_file_makes_requests_up(operator: Browser, org: Org) -> None:
    enrollment, token, page = enrol(operator)
    assert "simulate" not in config_in(page)
    registered(token, org)
    answer = operator.get(f"/run-a-node/{enrollment.pk}/agent.yaml")
    assert "simulate" not in yaml.safe_load(text_of(answer))


def test_a_machine_behind_a_router_needs_no_address(operator: Browser, tmp_path: Path) -> None:
    _, _, page = enrol(operator, endpoint="", models="", runtime_url="http://127.0.0.1:9000")
    path = tmp_path / "agent.yaml"
    path.write_text(yaml.safe_dump(config_in(page)))
    config = load_config(path, environment={})
    assert config.runtime_url == "http://127.0.0.1:9000"
    assert config.models == ()


def test_the_answer_with_the_token_is_kept_by_no_cache(operator: Browser) -> None:
    answer = operator.submit("/run-a-node/?platform=mac", ANSWERS)
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"node_id": "Not Good"}, "node_id"),
        ({"node_id": ".."}, "node_id"),
        ({"node_id": "x" * 65}, "node_id"),
        ({"node_id": "taken"}, "node_id"),
        ({"region": ""}, "region"),
        ({"region": "EU West"}, "region"),
        ({"runtime": "other"}, "runtime"),
        ({"runtime_url": "127.0.0.1:11434"}, "runtime_url"),
        ({"runtime_url": "http://user@host"}, "runtime_url"),
        ({"endpoint": "ftp://host"}, "endpoint"),
        ({"endpoint": "http://host:0"}, "endpoint"),
        ({"endpoint": "http://host:99999"}, "endpoint"),
        ({"endpoint": "http://user@host"}, "endpoint"),
        ({"endpoint": "http://host/?token=secret"}, "endpoint"),
        ({"endpoint": "http://host#f"}, "endpoint"),
        ({"endpoint": "http://[fe80::1%eth0]"}, "endpoint"),
        ({"models": "llama\u202e8b"}, "models"),
        ({"models": "llama, \u3164"}, "models"),
        ({"endpoint": 'http://h"\nx: 1'}, "endpoint"),
        ({"models": "x" * 129}, "models"),
        ({"wallet_address": '"; drop'}, "wallet_address"),
    ],
)
def test_a_wrong_answer_is_said_at_its_field_and_makes_nothing(
    operator: Browser, changes: dict[str, str], field: str
) -> None:
    NodeFactory.create(id="taken")
    page = text_of(operator.submit("/run-a-node/?platform=mac", {**ANSWERS, **changes}), 422)
    assert f'id="id_{field}_error"' in page
    assert Enrollment.objects.count() == 0


def test_a_post_without_the_csrf_token_is_refused(operator: Browser) -> None:
    assert operator.post("/run-a-node/", ANSWERS).status_code == 403
    assert Enrollment.objects.count() == 0


def test_an_operator_cannot_enrol_for_another_org(operator: Browser, org: Org) -> None:
    enrollment, _, _ = enrol(operator, org=str(OrgFactory.create().pk))
    assert enrollment.org_id == org.pk


def test_an_admin_says_for_which_org() -> None:
    admin = Browser().hold_session(make_user(Role.ADMIN))
    page = text_of(admin.submit("/run-a-node/?platform=mac", ANSWERS), 422)
    assert 'id="id_org_error"' in page
    wanted = OrgFactory.create()
    enrollment, _, _ = enrol(admin, org=str(wanted.pk))
    assert enrollment.org_id == wanted.pk


@pytest.mark.parametrize("path", ["", "agent.yaml"])
def test_an_outsider_finds_nothing(operator: Browser, path: str) -> None:
    enrollment, _, _ = enrol(operator)
    outsider = Browser().hold_session(
        make_user(Role.OPERATOR, org=OrgFactory.create(), email="other@example.org")
    )
    assert outsider.get(f"/run-a-node/{enrollment.pk}/{path}").status_code == 404
    assert outsider.post(f"/run-a-node/{enrollment.pk}/renew", headers=outsider.csrf).status_code == 404
    assert Enrollment.objects.count() == 1


def test_an_enrolment_whose_node_moved_to_another_org_shows_nothing_of_the_node(
    operator: Browser, org: Org
) -> None:
    enrollment, token, _ = enrol(operator)
    node = registered(token, org)
    url = f"/run-a-node/{enrollment.pk}/"
    assert node.pk in text_of(operator.get(url)) and url in text_of(operator.get("/run-a-node/"))
    new_owner, admin = OrgFactory.create(), make_user(Role.ADMIN)
    move(node=node, org=new_owner, by=admin, at=timezone.now())
    for path, headers in (("", {}), ("", POLL), ("agent.yaml", {})):
        assert operator.get(f"{url}{path}", headers=headers).status_code == 404
    for path in ("renew", "revoke", "prove", "agent.yaml"):
        assert operator.post(f"{url}{path}", headers=operator.csrf).status_code == 404
    start = text_of(operator.get("/run-a-node/"))
    assert url not in start and f">{node.pk}<" not in start
    assert node.pk in text_of(Browser().hold_session(admin).get(url)), "an admin sees all nodes"


def test_the_download_holds_the_token_only_for_who_has_it(operator: Browser) -> None:
    enrollment, token, _ = enrol(operator)
    url = f"/run-a-node/{enrollment.pk}/agent.yaml"
    answer = operator.post(url, {"token": token}, headers=operator.csrf)
    assert answer["Content-Disposition"] == 'attachment; filename="agent.yaml"'
    assert yaml.safe_load(answer.content)["enrollment_token"] == token
    for other in ("", "jve_wrong", '"\nconsole: "https://evil.example'):
        answer = operator.post(url, {"token": other}, headers=operator.csrf)
        assert "enrollment_token" not in yaml.safe_load(answer.content)
    assert "enrollment_token" not in yaml.safe_load(operator.get(url).content)


def test_a_new_token_is_a_new_enrolment_with_the_same_answers(operator: Browser) -> None:
    first, token, _ = enrol(operator)
    page = text_of(operator.post(f"/run-a-node/{first.pk}/renew", headers=operator.csrf), 201)
    assert token_in(page) != token
    assert config_in(page)["node_id"] == "macbook-001"
    assert config_in(page)["wallet"]["address"] == "7xKXtg2CW87d97TX"
    assert Enrollment.objects.count() == 2


def test_a_new_token_for_a_node_id_that_was_taken_meanwhile_is_refused_with_an_explanation(
    operator: Browser,
) -> None:
    enrollment, _, _ = enrol(operator)
    NodeFactory.create(id="macbook-001")
    page = text_of(operator.post(f"/run-a-node/{enrollment.pk}/renew", headers=operator.csrf), 409)
    assert "macbook-001 is taken" in page


def test_the_checklist_follows_the_node_to_its_first_receipt(operator: Browser, org: Org) -> None:
    enrollment, token, _ = enrol(operator)
    url = f"/run-a-node/{enrollment.pk}/"

    def steps() -> list[str]:
        return states_in(text_of(operator.get(url, headers=POLL)))

    assert steps() == ["Done", "In progress", *["Not yet"] * 7]
    node = registered(token, org)
    assert steps() == ["Done", "Done", "In progress", *["Not yet"] * 6]
    happen(node.pk, Event.HEARTBEAT, by=Actor("node", node.pk), at=timezone.now())
    # this agent says nothing of a runtime, so that there is no such step
    assert steps() == ["Done"] * 3 + ["In progress"] * 3 + ["Not yet"] * 2
    Node.objects.filter(pk=node.pk).update(last_metrics={"runtime_up": False})
    assert steps()[3:5] == ["Failed", "Not yet"]
    assert "open -a Ollama" in text_of(operator.get(url, headers=POLL))
    Node.objects.filter(pk=node.pk).update(
        last_metrics={"runtime_up": True}, models_offered=["llama3.1"], last_heartbeat_at=timezone.now()
    )
    assert steps()[3:5] == ["Done", "Done"]
    validator = ValidatorFactory.create()
    failed = Measurement(
        node.pk, ProbeKind.HEALTH, ok=False, ts=timezone.now(), detail="connection <b>refused</b>"
    )
    record_probe(validator_id=validator.pk, measurement=failed, at=timezone.now())
    assert "connection &lt;b&gt;refused&lt;/b&gt;" in text_of(operator.get(url, headers=POLL))
    passed = Measurement(node.pk, ProbeKind.HEALTH, ok=True, ts=timezone.now())
    record_probe(validator_id=validator.pk, measurement=passed, at=timezone.now())
    assert steps()[6:] == ["Done", "Done", "In progress"]
    receipt = ReceiptFactory(node=node, at=timezone.now() + timedelta(seconds=1))
    done = text_of(operator.get(url, headers=POLL))
    assert states_in(done)[6:] == ["Done"] * 3
    assert f'href="/receipts/macbook-001/{receipt.request_id}/"' in done
    assert "<html" not in done


def test_an_unchanged_checklist_answers_a_poll_with_304(operator: Browser, org: Org) -> None:
    enrollment, token, _ = enrol(operator)
    url = f"/run-a-node/{enrollment.pk}/"
    etag = operator.get(url, headers=POLL)["ETag"]
    assert operator.get(url, headers={**POLL, "If-None-Match": etag}).status_code == 304
    registered(token, org)
    assert operator.get(url, headers={**POLL, "If-None-Match": etag}).status_code == 200


def test_a_poll_of_the_checklist_builds_neither_the_agent_nor_its_file(
    operator: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment, _, _ = enrol(operator)

    def build(*args: object, **named: object) -> Any:
        raise AssertionError("built for a poll")

    for name in ("agent_wheel", "config_text", "by_hand"):
        monkeypatch.setattr(f"onboarding.views.{name}", build)
    url = f"/run-a-node/{enrollment.pk}/"
    assert states_in(text_of(operator.get(url, headers=POLL)))
    with pytest.raises(AssertionError, match="built for a poll"):
        operator.get(url)


def test_an_expired_token_says_so_and_offers_a_new_one(operator: Browser) -> None:
    enrollment, _, _ = enrol(operator)
    Enrollment.objects.filter(pk=enrollment.pk).update(expires_at=timezone.now() - timedelta(minutes=1))
    page = text_of(operator.get(f"/run-a-node/{enrollment.pk}/"))
    assert states_in(page) == ["Done", "Failed", *["Not yet"] * 7]
    assert "Create new command" in page
