"""Findings of fraud through the front door, for cheats and for honest operators."""

import base64
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from nacl.signing import SigningKey

from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from jatevo.audit.record import actor_of
from jatevo.wire import keys, signing
from nodes import actions
from nodes.models import FindingState, FraudFinding, FraudRelation, Node, NodeKey, Validator
from nodes.rules.lifecycle import Reason, Status
from nodes.sweeper import sweep
from tests.factories import OrgFactory, UserFactory, receipt_payload
from tests.machines import Answer, SignedSender, bearer

pytestmark = pytest.mark.django_db

HARDWARE = "blake3:" + "5f" * 32
ENDPOINT = "https://gpu.example.org:11435"


class NodesOfOneOrg:
    """The nodes of one org, which register and send requests themselves."""

    def __init__(self, org: Org | None = None) -> None:
        self.org = org or OrgFactory.create()
        self.operator = UserFactory.create(org=self.org)
        self.keys: dict[str, SigningKey] = {}
        self.tokens: dict[str, str] = {}

    def register(
        self, name: str, *, hardware: str = "", endpoint: str = "", key: SigningKey | None = None
    ) -> Answer:
        self.keys[name] = key or SigningKey.generate()
        made = Client().post(
            "/v1/enrollments", {}, content_type="application/json", headers=bearer(self.operator)
        )
        body: dict[str, Any] = {
            "node_id": name,
            "region": "ap-southeast",
            "runtime": "ollama",
            "public_key": keys.public_key_text(bytes(self.keys[name].verify_key)),
            "attest": {"gpu_model": "Apple M3 Max", "hardware_hash": hardware},
        }
        if endpoint:
            body["endpoint"] = endpoint
        answer = Client().post(
            "/v1/nodes/register",
            body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {made.json()['token']}"},
        )
        if answer.status_code == 201:
            self.tokens[name] = answer.json()["node_token"]
        return answer

    def machine(self, name: str) -> SignedSender:
        return SignedSender("X-Node-Id", name, base64.b64decode(self.tokens[name].removeprefix("whsec_")))

    def forge(self, name: str, **changes: Any) -> None:
        forged = signing.sign(receipt_payload(name, **changes), SigningKey.generate())
        assert self.machine(name).send("/v1/receipts", forged).status_code == 422


@pytest.fixture
def cheat() -> NodesOfOneOrg:
    """An org whose node `rogue` has just been found to cheat."""
    fleet = NodesOfOneOrg()
    assert fleet.register("rogue", hardware=HARDWARE, endpoint=ENDPOINT).status_code == 201
    fleet.forge("rogue")
    return fleet


@pytest.fixture
def admin() -> User:
    made: User = UserFactory.create(role=Role.ADMIN, org=None)
    return made


def status_of(name: str) -> tuple[str, str, bool]:
    node = Node.objects.get(pk=name)
    return node.status, node.status_reason, node.fraud


HELD = (Status.QUARANTINE, Reason.RELATED_TO_FRAUD, True)


def test_forged_receipt_opens_one_finding_however_often_it_comes(cheat: NodesOfOneOrg) -> None:
    cheat.forge("rogue")
    finding = FraudFinding.objects.get()
    assert (finding.node_id, finding.state, finding.cause) == ("rogue", FindingState.OPEN, "receipt_forged")
    assert finding.evidence["sha256"]
    assert AuditEvent.objects.filter(verb="fraud.open", subject_id="rogue").count() == 1


@pytest.mark.parametrize(
    ("hardware", "endpoint"),
    [
        (HARDWARE, "https://elsewhere.example.org"),
        (HARDWARE.upper(), ""),
        ("blake3:" + "77" * 32, ENDPOINT),
        ("", "http://GPU.example.org.:11435/other/path"),
    ],
)
def test_the_same_machine_under_another_name_starts_in_quarantine(
    cheat: NodesOfOneOrg, hardware: str, endpoint: str
) -> None:
    answer = cheat.register("fresh", hardware=hardware, endpoint=endpoint)
    assert (answer.status_code, answer.json()["status"]) == (201, "quarantine")
    assert status_of("fresh") == HELD
    step = Node.objects.get(pk="fresh").transitions.get()
    assert (step.from_status, step.to_status, step.evidence["related_to"]) == (
        "registered", "quarantine", "rogue",
    )  # fmt: skip
    assert cheat.machine("fresh").beat().json()["status"] == "quarantine"


def test_audits_do_not_end_the_quarantine_of_a_related_node(cheat: NodesOfOneOrg) -> None:
    cheat.register("fresh", hardware=HARDWARE)
    validator, _ = actions.create_sender(Validator, name="v-1", by=cheat.operator, at=timezone.now())
    for number in range(4):
        body = {"node_id": "fresh", "kind": "audit", "ok": True, "ts": timezone.now().timestamp() + number}
        assert SignedSender.validator(validator).send("/v1/probes", body).status_code == 201
    assert status_of("fresh") == HELD


def test_key_of_a_node_is_refused_under_any_name_and_in_any_org(cheat: NodesOfOneOrg) -> None:
    stranger = NodesOfOneOrg()
    for fleet, name in ((cheat, "fresh"), (stranger, "other")):
        answer = fleet.register(name, key=cheat.keys["rogue"])
        assert (answer.status_code, answer.json()["error"]["type"]) == (409, "key_exists")
        assert not Node.objects.filter(pk=name).exists()
    told = AuditEvent.objects.filter(verb="node.key_refused")
    assert {event.subject_id for event in told} == {"rogue"}
    assert {event.org_id for event in told} == {cheat.org.pk, stranger.org.pk}


def test_refused_key_leaves_the_enrolment_good() -> None:
    fleet = NodesOfOneOrg()
    fleet.register("first")
    made = Client().post(
        "/v1/enrollments", {}, content_type="application/json", headers=bearer(fleet.operator)
    )
    headers = {"Authorization": f"Bearer {made.json()['token']}"}

    def register(key: SigningKey) -> int:
        body = {
            "node_id": "second",
            "region": "us-east",
            "runtime": "vllm",
            "public_key": keys.public_key_text(bytes(key.verify_key)),
        }
        posted = Client().post("/v1/nodes/register", body, content_type="application/json", headers=headers)
        return posted.status_code

    assert register(fleet.keys["first"]) == 409
    assert register(SigningKey.generate()) == 201


def test_a_former_key_is_refused_for_another_node_and_for_its_own(cheat: NodesOfOneOrg) -> None:
    cheat.register("honest")
    former = cheat.keys["honest"]
    actions.add_key(
        node=Node.objects.get(pk="honest"),
        public_key=bytes(SigningKey.generate().verify_key),
        by=actor_of(cheat.operator),
        at=timezone.now(),
    )
    text = keys.public_key_text(bytes(former.verify_key))
    for name in ("rogue", "honest"):
        answer = Client().post(
            f"/v1/nodes/{name}/keys",
            {"public_key": text},
            content_type="application/json",
            headers=bearer(cheat.operator),
        )
        assert (answer.status_code, answer.json()["error"]["type"]) == (409, "key_exists")
    assert NodeKey.objects.filter(public_key=bytes(former.verify_key)).count() == 1


def test_moving_to_the_endpoint_of_the_fraud_is_the_same_evasion(cheat: NodesOfOneOrg) -> None:
    cheat.register("fresh", hardware="blake3:" + "77" * 32, endpoint="https://new.example.org")
    assert status_of("fresh")[0] == Status.PENDING
    assert cheat.machine("fresh").beat(endpoint=ENDPOINT + "/").json()["status"] == "quarantine"
    assert status_of("fresh") == HELD


def test_taking_up_the_hardware_of_the_fraud_is_the_same_evasion(cheat: NodesOfOneOrg) -> None:
    cheat.register("fresh", hardware="blake3:" + "77" * 32)
    assert cheat.machine("fresh").beat().json()["status"] == "pending"
    answer = cheat.machine("fresh").beat(attest={"hardware_hash": HARDWARE})
    assert answer.json()["status"] == "quarantine"
    assert status_of("fresh") == HELD


def test_restating_the_frauds_hardware_first_hides_nothing(cheat: NodesOfOneOrg) -> None:
    cheat.machine("rogue").beat(attest={"hardware_hash": "blake3:" + "55" * 32})
    assert cheat.register("fresh", hardware=HARDWARE).json()["status"] == "quarantine"
    assert cheat.register("again", hardware="blake3:" + "55" * 32).json()["status"] == "quarantine"


def test_moving_the_fraud_away_first_hides_nothing(cheat: NodesOfOneOrg) -> None:
    cheat.machine("rogue").beat(endpoint="https://moved.example.org")
    assert cheat.register("fresh", endpoint=ENDPOINT).json()["status"] == "quarantine"
    assert cheat.register("again", endpoint="https://moved.example.org").json()["status"] == "quarantine"


def test_returning_to_an_endpoint_counts_as_taking_it_up_again() -> None:
    fleet = NodesOfOneOrg()
    fleet.register("rogue", endpoint=ENDPOINT)
    fleet.register("spare", endpoint=ENDPOINT)
    fleet.machine("spare").beat(endpoint="https://away.example.org")
    fleet.forge("rogue")
    assert status_of("spare")[0] == Status.PENDING
    assert fleet.machine("spare").beat(endpoint=ENDPOINT).json()["status"] == "quarantine"


def test_nodes_from_before_the_fraud_and_other_new_nodes_run() -> None:
    household = NodesOfOneOrg()
    household.register("rogue", hardware=HARDWARE, endpoint=ENDPOINT)
    household.register("beside", hardware=HARDWARE, endpoint="https://gpu.example.org:11436")
    household.forge("rogue")
    household.register("laptop", hardware="blake3:" + "77" * 32, endpoint="https://gpu.example.org:11437")
    for name in ("beside", "laptop"):
        assert household.machine(name).beat().json()["status"] == "pending"
    household.machine("beside").beat(endpoint="https://gpu.example.org:11436")
    sweep(at=timezone.now())
    assert not FraudRelation.objects.exists()


@pytest.mark.parametrize(
    "said",
    [
        {"hardware": "", "endpoint": ""},
        {"hardware": "unknown", "endpoint": "http://127.0.0.1:11435"},
        {"hardware": "blake3:" + "0" * 64, "endpoint": "http://192.168.1.20:11435"},
        {"hardware": "blake3:", "endpoint": "http://localhost:11435"},
    ],
)
def test_a_mark_that_many_machines_share_relates_no_nodes(said: dict[str, Any]) -> None:
    fleet = NodesOfOneOrg()
    fleet.register("rogue", **said)
    fleet.forge("rogue")
    assert fleet.register("fresh", **said).json()["status"] == "pending"
    sweep(at=timezone.now())
    assert status_of("fresh")[0] == Status.PENDING


def test_a_match_across_orgs_holds_nothing(cheat: NodesOfOneOrg) -> None:
    stranger = NodesOfOneOrg()
    assert stranger.register("other", hardware=HARDWARE, endpoint=ENDPOINT).json()["status"] == "pending"
    sweep(at=timezone.now())
    assert status_of("other")[0] == Status.PENDING


def test_a_related_node_does_not_relate_others(cheat: NodesOfOneOrg) -> None:
    other = "blake3:" + "77" * 32
    cheat.register("related", hardware=other, endpoint=ENDPOINT)
    assert cheat.register("third", hardware=other).json()["status"] == "pending"


def test_clearing_the_node_clears_its_finding_and_lets_its_related_nodes_go(
    cheat: NodesOfOneOrg, admin: User
) -> None:
    cheat.register("fresh", hardware=HARDWARE)
    actions.clear(node=Node.objects.get(pk="rogue"), by=admin, reason="A bug of ours", at=timezone.now())
    finding = FraudFinding.objects.get()
    assert (finding.state, finding.decision, finding.decided_by) == ("cleared", "A bug of ours", admin.email)
    assert [status_of(name)[0] for name in ("rogue", "fresh")] == [Status.PENDING] * 2
    note = Node.objects.get(pk="fresh").transitions.first()
    assert note is not None
    assert "rogue was cleared" in note.evidence["note"]
    assert AuditEvent.objects.filter(verb="fraud.clear", subject_id="rogue", reason="A bug of ours").exists()
    assert cheat.register("next", hardware=HARDWARE).json()["status"] == "pending"
    sweep(at=timezone.now())
    assert status_of("fresh")[0] == Status.PENDING


def test_related_node_that_forged_itself_stays_when_the_other_is_cleared(
    cheat: NodesOfOneOrg, admin: User
) -> None:
    cheat.register("fresh", hardware=HARDWARE)
    cheat.forge("fresh")
    assert status_of("fresh") == (Status.QUARANTINE, Reason.RECEIPT_FORGED, True)
    actions.clear(node=Node.objects.get(pk="rogue"), by=admin, reason="A bug of ours", at=timezone.now())
    assert status_of("fresh") == (Status.QUARANTINE, Reason.RECEIPT_FORGED, True)


def test_a_cleared_related_node_is_not_held_again(cheat: NodesOfOneOrg, admin: User) -> None:
    cheat.register("fresh", hardware=HARDWARE)
    actions.clear(node=Node.objects.get(pk="fresh"), by=admin, reason="Another card", at=timezone.now())
    assert cheat.machine("fresh").beat().json()["status"] == "pending"
    sweep(at=timezone.now())
    assert status_of("fresh")[0] == Status.PENDING
    assert FraudFinding.objects.get().state == FindingState.OPEN, "the other's finding is untouched"
    with time_machine.travel(timezone.now() + timedelta(seconds=10)):
        actions.confirm_fraud(
            node=Node.objects.get(pk="rogue"), by=admin, reason="Certain", at=timezone.now()
        )
    assert status_of("fresh")[0] == Status.PENDING, "an admin has judged it with this finding in sight"


def test_confirmed_fraud_holds_all_that_the_org_registered_since(admin: User) -> None:
    fleet = NodesOfOneOrg()
    fleet.register("older")
    fleet.register("rogue")
    fleet.forge("rogue")
    fleet.register("since")
    assert status_of("since")[0] == Status.PENDING
    actions.confirm_fraud(node=Node.objects.get(pk="rogue"), by=admin, reason="Certain", at=timezone.now())
    assert status_of("since") == HELD
    assert fleet.register("later").json()["status"] == "quarantine"
    assert status_of("older")[0] == Status.PENDING
    assert NodesOfOneOrg().register("elsewhere").json()["status"] == "pending"
    finding = FraudFinding.objects.get()
    assert (finding.state, finding.decision) == ("confirmed", "Certain")
    assert AuditEvent.objects.filter(verb="fraud.confirm", subject_id="rogue", reason="Certain").exists()


def test_confirmed_fraud_does_not_end(cheat: NodesOfOneOrg, admin: User) -> None:
    rogue = Node.objects.get(pk="rogue")
    actions.confirm_fraud(node=rogue, by=admin, reason="Certain", at=timezone.now())
    with pytest.raises(actions.NotPossible):
        actions.clear(node=rogue, by=admin, reason="Mercy", at=timezone.now())
    assert status_of("rogue") == (Status.QUARANTINE, Reason.RECEIPT_FORGED, True)
    with pytest.raises(actions.NotPossible):
        actions.confirm_fraud(node=rogue, by=admin, reason="Twice", at=timezone.now())
    cheat.forge("rogue")
    assert FraudFinding.objects.count() == 1


def test_admin_opens_a_finding_with_a_reason(admin: User) -> None:
    fleet = NodesOfOneOrg()
    fleet.register("suspect", hardware=HARDWARE)
    node = Node.objects.get(pk="suspect")
    with pytest.raises(actions.NotPossible):
        actions.suspect(node=node, by=admin, reason=" ", at=timezone.now())
    actions.suspect(node=node, by=admin, reason="Counts made up", at=timezone.now())
    assert status_of("suspect") == (Status.QUARANTINE, Reason.FRAUD_SUSPECTED, True)
    assert fleet.register("fresh", hardware=HARDWARE).json()["status"] == "quarantine"
    with pytest.raises(actions.NotPossible):
        actions.suspect(node=node, by=admin, reason="Again", at=timezone.now())


@pytest.mark.parametrize(("ended_ago", "doubt_ago"), [(-200, 0), (0, 0), (7200, 7200)])
def test_forged_receipt_puts_in_doubt_what_was_served_since_it_ended(ended_ago: int, doubt_ago: int) -> None:
    fleet = NodesOfOneOrg()
    fleet.register("rogue")
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False):
        now = timezone.now()
        ended = int(now.timestamp()) - ended_ago
        fleet.forge("rogue", ts_start=ended - 10, ts_end=ended)
    finding = FraudFinding.objects.get()
    assert (finding.opened_at, finding.doubtful_from) == (now, now - timedelta(seconds=doubt_ago))


def test_earlier_evidence_moves_the_doubt_of_an_open_finding_back(cheat: NodesOfOneOrg, admin: User) -> None:
    before = FraudFinding.objects.get()
    ended = int(timezone.now().timestamp()) - 86_400
    cheat.forge("rogue", ts_start=ended - 10, ts_end=ended)
    finding = FraudFinding.objects.get()
    assert finding.doubtful_from.timestamp() == ended
    assert finding.opened_at == before.opened_at
    assert AuditEvent.objects.filter(verb="fraud.extend").count() == 1
    cheat.forge("rogue")
    assert FraudFinding.objects.get().doubtful_from == finding.doubtful_from
    actions.confirm_fraud(node=Node.objects.get(pk="rogue"), by=admin, reason="Certain", at=timezone.now())
    cheat.forge("rogue", ts_start=ended - 90, ts_end=ended - 80)
    assert FraudFinding.objects.get().doubtful_from == finding.doubtful_from


def test_node_that_forges_after_a_clear_gets_a_new_finding(cheat: NodesOfOneOrg, admin: User) -> None:
    actions.clear(node=Node.objects.get(pk="rogue"), by=admin, reason="Once", at=timezone.now())
    cheat.forge("rogue")
    assert [finding.state for finding in FraudFinding.objects.all()] == ["open", "cleared"]


def test_sweeper_holds_what_a_crash_left_running(cheat: NodesOfOneOrg) -> None:
    """The heartbeat that took up the mark was committed, but the process died before it could act."""
    cheat.register("fresh", endpoint="https://new.example.org")
    Node.objects.get(pk="fresh").marks.update(value="gpu.example.org:11435")
    sweep(at=timezone.now())
    assert status_of("fresh") == HELD
