"""Scenes of cheats: what somebody may try to be paid for work that was not done, or for the work of others."""

from datetime import timedelta

from nacl.signing import SigningKey

from earnings.models import VerdictState
from nodes.actions import confirm_fraud
from nodes.rules.lifecycle import Event
from tests.earnings.stage import NOW, Stage, rotate

# The three cheats that once were paid


def hundred_million_tokens(stage: Stage) -> None:
    stage.receipt("thief", tokens_output=100_000_000)


def a_week_before_the_node_existed(stage: Stage) -> None:
    stage.node("thief", since=NOW - timedelta(minutes=10))
    stage.receipt("thief", ago=7 * 86_400 - 60)


def anothers_request_posted_first(stage: Stage) -> None:
    stage.receipt("thief")
    stage.accrue()
    stage.receipt("victim")


# Claim theft by guessed ids


def thief_first(stage: Stage) -> None:
    stage.receipt("thief")
    stage.accrue()
    stage.dispatch("victim")
    stage.receipt("victim")


def thief_last(stage: Stage) -> None:
    stage.dispatch("victim")
    stage.receipt("victim")
    stage.accrue()
    stage.later(minutes=2)
    stage.receipt("thief")


def thief_before_the_dispatch_is_known(stage: Stage) -> None:
    stage.receipt("thief")
    stage.receipt("victim")
    stage.accrue()
    assert stage.verdict("victim").startswith("held")
    stage.later(hours=5)
    stage.dispatch("victim", ago=5 * 3600 + 30)


def thief_after_the_victims_day_is_final(stage: Stage) -> None:
    stage.dispatch("victim")
    stage.receipt("victim")
    stage.later(days=10)
    stage.accrue()
    stage.receipt("thief")


def thief_after_an_undispatched_victims_day_is_final(stage: Stage) -> None:
    stage.receipt("victim")
    stage.later(days=10)
    stage.accrue()
    stage.receipt("thief")


def thief_waits_until_its_own_day_is_final(stage: Stage) -> None:
    """It posts an id that will be used later. A network without gateways pays for any invented id."""
    stage.receipt("thief")
    stage.later(days=10)
    stage.accrue()
    stage.dispatch("victim")
    stage.receipt("victim")


def theft_then_nothing_for_a_week(stage: Stage) -> None:
    stage.receipt("thief")
    stage.dispatch("victim")
    stage.receipt("victim")
    stage.accrue()
    stage.later(days=8)


def thief_is_dispatched_something_else(stage: Stage) -> None:
    stage.dispatch("thief", "other")
    thief_first(stage)


# Other cheats


def two_nodes_of_one_org_claim_one_request(stage: Stage) -> None:
    for name in ("first", "second"):
        stage.node(name, "cheat")
        stage.receipt(name, hedged=True)


def two_nodes_of_one_org_without_saying_hedged(stage: Stage) -> None:
    for name in ("first", "second"):
        stage.node(name, "cheat")
        stage.receipt(name)


def nested_requests(stage: Stage) -> None:
    """More at once than the node serves, each within the one before."""
    stage.node("cheat", concurrency=2)
    for number in range(4):
        stage.receipt("cheat", f"r{number}", ago=20 + 10 * number, seconds=200 - 20 * number)


def nested_requests_from_the_inside(stage: Stage) -> None:
    """Each receipt covers those before it, so that the latest always runs longest."""
    stage.node("cheat", concurrency=2)
    for number in range(4):
        stage.receipt("cheat", f"r{number}", ago=60 - 10 * number, seconds=20 + 20 * number)


def zero_length_flood(stage: Stage) -> None:
    """Requests without length overlap nothing, but their second holds no more than the node can make in two."""
    stage.node("cheat", concurrency=1)
    for number in range(4):
        stage.receipt("cheat", f"r{number}", seconds=0, tokens_output=900)


def work_invented_for_a_silence(stage: Stage) -> None:
    """The node falls silent on purpose, and says afterwards that it worked all the time."""
    stage.node("cheat")
    stage.later(minutes=6)
    stage.happen("cheat", Event.SILENT, evidence={"last_heartbeat_at": NOW.isoformat()})
    stage.later(hours=6)
    stage.happen("cheat", Event.HEARTBEAT)
    stage.happen("cheat", Event.PROBE_PASSED)
    stage.receipt("cheat", "in-the-silence", ago=3 * 3600)
    stage.receipt("cheat", "long-before-it", ago=7 * 3600)
    stage.receipt("cheat", "as-it-began", ago=6 * 3600 + 60)


def old_work_signed_by_a_new_key(stage: Stage) -> None:
    key = rotate(stage, "cheat")
    stage.receipt("cheat", "new-key", ago=600, key=key)


def new_work_signed_by_an_old_key(stage: Stage) -> None:
    rotate(stage, "cheat")
    stage.later(minutes=10)
    stage.receipt("cheat", "old-key")


def forging(stage: Stage) -> None:
    """One forgery costs the work since, and holds what the org's next nodes earn."""
    stage.receipt("cheat", "before", ago=600)
    stage.receipt("cheat", "forged", ago=60, key=SigningKey(b"f" * 32), status=422)
    stage.receipt("cheat", "after", ago=20)
    stage.node("next", "cheat", since=stage.now)
    stage.later(minutes=1)
    stage.receipt("next", "by-another-node")


def forging_confirmed(stage: Stage) -> None:
    forging(stage)
    stage.accrue()
    assert stage.verdict("next", "by-another-node") == "held: fraud_suspected"
    confirm_fraud(node=stage.node("cheat"), by=stage.admin, reason="It forged.", at=stage.now)


def griefing_without_gateways(stage: Stage) -> None:
    """A rival that learns ids can hold what no gateway confirms. An admin decides, and loses the rival the claim."""
    stage.receipt("victim")
    stage.receipt("griefer")
    stage.accrue()
    assert stage.verdict("victim") == "held: disputed"
    stage.decide(VerdictState.PAYABLE, "victim")


def griefing_with_gateways(stage: Stage) -> None:
    for request in ("r1", "r2"):
        stage.dispatch("victim", request)
        stage.receipt("victim", request)
        stage.receipt("griefer", request)


def griefing_by_a_colluding_org(stage: Stage) -> None:
    """The gateway sent the request to both: a real hedge. Its word about the winner decides."""
    stage.dispatch("victim", hedged=True)
    stage.dispatch("griefer", hedged=True)
    stage.receipt("griefer", hedged=True)
    stage.receipt("victim", hedged=True)
    stage.accrue()
    assert stage.verdict("victim") == "held: disputed"
    stage.winner("victim")


def a_dear_model_that_it_does_not_offer(stage: Stage) -> None:
    stage.receipt("cheat", model_id="gpt-dear")


def a_dear_model_in_place_of_the_dispatched(stage: Stage) -> None:
    stage.node("cheat", models_offered=["llama3.1-8b", "gpt-dear"])
    stage.dispatch("cheat")
    stage.receipt("cheat", model_id="gpt-dear")


def more_tokens_than_dispatched(stage: Stage) -> None:
    stage.dispatch("cheat", "input", tokens_input=100)
    stage.receipt("cheat", "input", tokens_input=161)
    stage.dispatch("cheat", "output", max_tokens=50)
    stage.receipt("cheat", "output", tokens_output=51)
    stage.dispatch("cheat", "as-dispatched", tokens_input=100, max_tokens=50)
    stage.receipt("cheat", "as-dispatched", tokens_input=160, tokens_output=50)


def no_gateway_knows_it(stage: Stage) -> None:
    stage.receipt("cheat", "invented")
    stage.dispatch("cheat", "real")
    stage.receipt("cheat", "real")
    stage.accrue()
    assert stage.verdict("cheat", "invented") == "held: unconfirmed"
    stage.later(days=8)


def failed_but_handed_in(stage: Stage) -> None:
    stage.receipt("cheat", outcome="error")


def longer_than_a_day(stage: Stage) -> None:
    stage.receipt("cheat", seconds=86_401, tokens_output=80_000_000)
