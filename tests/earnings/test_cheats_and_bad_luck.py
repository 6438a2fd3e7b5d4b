"""A table of cheats and of bad luck, each with the verdicts that it gets, through the front door.

A scene is a function that plays on a `Stage`, in `cheats.py` or `bad_luck.py`. What it comes to stands here: the
verdict on each receipt, by node and request.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import time_machine

from tests.earnings import bad_luck, cheats
from tests.earnings.stage import NOW, Stage

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Scene:
    name: str
    play: Callable[[Stage], None]
    verdicts: dict[str, str]  # "node request": verdict
    require_dispatch: bool = False


SCENES = [
    Scene("100 million tokens", cheats.hundred_million_tokens, {"thief r": "held: speed"}),
    Scene(
        "a week before the node existed",
        cheats.a_week_before_the_node_existed,
        {"thief r": "excluded: not_in_service"},
    ),
    Scene(
        "another's request posted first, no gateway",
        cheats.anothers_request_posted_first,
        {"thief r": "held: disputed", "victim r": "held: disputed"},
    ),
    Scene(
        "theft, thief first",
        cheats.thief_first,
        {"thief r": "held: contradicts", "victim r": "payable, confirmed"},
    ),
    Scene(
        "theft, thief last",
        cheats.thief_last,
        {"thief r": "held: contradicts", "victim r": "payable, confirmed"},
    ),
    Scene(
        "theft, dispatch known later",
        cheats.thief_before_the_dispatch_is_known,
        {"thief r": "held: contradicts", "victim r": "payable, confirmed"},
    ),
    Scene(
        "theft, victim's day final",
        cheats.thief_after_the_victims_day_is_final,
        {"thief r": "held: contradicts", "victim r": "payable, confirmed"},
    ),
    Scene(
        "theft, undispatched victim's day final",
        cheats.thief_after_an_undispatched_victims_day_is_final,
        {"thief r": "held: disputed", "victim r": "payable"},
    ),
    Scene(
        "theft, thief's day final",
        cheats.thief_waits_until_its_own_day_is_final,
        {"thief r": "payable", "victim r": "payable, confirmed"},
    ),
    Scene(
        "theft, a week later",
        cheats.theft_then_nothing_for_a_week,
        {"thief r": "excluded: contradicts", "victim r": "payable, confirmed"},
    ),
    Scene(
        "theft by a node that is dispatched other work",
        cheats.thief_is_dispatched_something_else,
        {"thief r": "held: contradicts", "victim r": "payable, confirmed"},
    ),
    Scene(
        "two nodes of one org, hedged",
        cheats.two_nodes_of_one_org_claim_one_request,
        {"first r": "payable", "second r": "excluded: hedged_loser"},
    ),
    Scene(
        "two nodes of one org, not hedged",
        cheats.two_nodes_of_one_org_without_saying_hedged,
        {"first r": "held: disputed", "second r": "held: disputed"},
    ),
    Scene(
        "nested requests",
        cheats.nested_requests,
        {
            "cheat r0": "payable",
            "cheat r1": "payable",
            "cheat r2": "held: concurrency",
            "cheat r3": "held: concurrency",
        },
    ),
    Scene(
        "nested requests from the inside",
        cheats.nested_requests_from_the_inside,
        {
            "cheat r0": "payable",
            "cheat r1": "payable",
            "cheat r2": "held: concurrency",
            "cheat r3": "held: concurrency",
        },
    ),
    Scene(
        "zero-length flood",
        cheats.zero_length_flood,
        {"cheat r0": "payable", "cheat r1": "payable", "cheat r2": "held: burst", "cheat r3": "held: burst"},
    ),
    Scene(
        "work invented for a silence",
        cheats.work_invented_for_a_silence,
        {
            "cheat in-the-silence": "excluded: not_in_service",
            "cheat long-before-it": "held: late",
            "cheat as-it-began": "payable",
        },
    ),
    Scene(
        "old work signed by a new key",
        cheats.old_work_signed_by_a_new_key,
        {"cheat new-key": "excluded: before_key"},
    ),
    Scene(
        "new work signed by an old key",
        cheats.new_work_signed_by_an_old_key,
        {"cheat old-key": "excluded: after_key"},
    ),
    Scene(
        "forging, then registering anew",
        cheats.forging,
        {
            "cheat before": "payable",
            "cheat after": "held: fraud_suspected",
            "next by-another-node": "held: fraud_suspected",
        },
    ),
    Scene(
        "forging, confirmed",
        cheats.forging_confirmed,
        {
            "cheat before": "payable",
            "cheat after": "excluded: fraud_confirmed",
            "next by-another-node": "excluded: fraud_confirmed",
        },
    ),
    Scene(
        "griefing without gateways",
        cheats.griefing_without_gateways,
        {"victim r": "payable", "griefer r": "excluded: hedged_loser"},
    ),
    Scene(
        "griefing with gateways",
        cheats.griefing_with_gateways,
        {
            "victim r1": "payable, confirmed",
            "victim r2": "payable, confirmed",
            "griefer r1": "held: contradicts",
            "griefer r2": "held: contradicts",
        },
    ),
    Scene(
        "griefing by a node that was also dispatched",
        cheats.griefing_by_a_colluding_org,
        {"victim r": "payable, confirmed", "griefer r": "excluded: hedged_loser"},
    ),
    Scene(
        "a model that it does not offer",
        cheats.a_dear_model_that_it_does_not_offer,
        {"cheat r": "held: model"},
    ),
    Scene(
        "another model than dispatched",
        cheats.a_dear_model_in_place_of_the_dispatched,
        {"cheat r": "held: contradicts"},
    ),
    Scene(
        "more tokens than dispatched",
        cheats.more_tokens_than_dispatched,
        {
            "cheat input": "held: contradicts",
            "cheat output": "held: contradicts",
            "cheat as-dispatched": "payable, confirmed",
        },
    ),
    Scene(
        "no gateway knows it",
        cheats.no_gateway_knows_it,
        {"cheat invented": "excluded: unconfirmed", "cheat real": "payable, confirmed"},
        require_dispatch=True,
    ),
    Scene("a failed request", cheats.failed_but_handed_in, {"cheat r": "excluded: failed"}),
    Scene("longer than a day", cheats.longer_than_a_day, {"cheat r": "held: context"}),
    Scene("console outage", bad_luck.console_outage, {"honest r": "payable"}),
    Scene(
        "own silence, late spool",
        bad_luck.own_silence,
        {"honest before": "payable", "honest during-dispatched": "payable, confirmed"},
    ),
    Scene("clock ahead", bad_luck.clock_290_seconds_ahead, {"honest r": "payable, confirmed"}),
    Scene("clock behind", bad_luck.clock_290_seconds_behind, {"honest r": "payable"}),
    Scene(
        "rotation with a lost answer",
        bad_luck.rotation_with_a_lost_answer,
        {"honest minutes-later": "payable", "honest an-hour-later": "excluded: after_key"},
    ),
    Scene(
        "hedged retry",
        bad_luck.hedged_retry,
        {"winner r": "payable, confirmed", "loser r": "excluded: hedged_loser"},
    ),
    Scene(
        "hedged retry within an org",
        bad_luck.hedged_retry_within_an_org,
        {"first r": "payable, confirmed", "second r": "excluded: hedged_loser"},
    ),
    Scene(
        "a winner that handed in nothing",
        bad_luck.winner_that_handed_in_nothing,
        {"other r": "payable, confirmed"},
    ),
    Scene("model spelled otherwise", bad_luck.model_spelled_otherwise, {"honest r": "payable, confirmed"}),
    Scene(
        "model no longer offered",
        bad_luck.model_no_longer_offered,
        {"honest within-a-day": "payable", "honest after-a-day": "held: model"},
    ),
    Scene(
        "moved to another org",
        bad_luck.moved_to_another_org,
        {"honest before": "payable", "honest after": "payable"},
    ),
    Scene(
        "quarantined by mistake",
        bad_luck.quarantined_by_mistake,
        {
            "honest under-way": "payable",
            "honest during": "excluded: not_in_service",
            "honest afterwards": "payable",
        },
    ),
    Scene("handed in twice", bad_luck.handed_in_twice, {"honest r": "payable"}),
    Scene("cancelled by the client", bad_luck.cancelled_by_the_client, {"honest r": "payable"}),
    Scene(
        "clocks go back",
        bad_luck.clocks_go_back,
        {"honest summer-time": "held: late", "honest winter-time": "held: late"},
    ),
    Scene(
        "late without a reason",
        bad_luck.late_without_a_reason,
        {
            "honest a-quarter-of-an-hour": "payable",
            "honest a-second-more": "held: late",
            "honest a-day-dispatched": "payable, confirmed",
        },
    ),
    Scene(
        "a dispatch that arrives days later",
        bad_luck.dispatch_arrives_days_later,
        {"honest r": "payable, confirmed"},
        require_dispatch=True,
    ),
]


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_verdicts(scene: Scene, clock: time_machine.Traveller) -> None:
    stage = Stage(clock, require_dispatch=scene.require_dispatch)
    scene.play(stage)
    stage.accrue()
    assert {which: stage.verdict(*which.split(" ", 1)) for which in scene.verdicts} == scene.verdicts


THEFTS = [
    cheats.thief_first,
    cheats.thief_last,
    cheats.thief_before_the_dispatch_is_known,
    cheats.thief_after_the_victims_day_is_final,
    cheats.thief_waits_until_its_own_day_is_final,
    cheats.theft_then_nothing_for_a_week,
    cheats.thief_is_dispatched_something_else,
]


@pytest.mark.parametrize("theft", THEFTS, ids=lambda theft: theft.__name__)
def test_where_dispatches_are_required_no_theft_pays(
    theft: Callable[[Stage], None], clock: time_machine.Traveller
) -> None:
    stage = Stage(clock, require_dispatch=True)
    theft(stage)
    stage.accrue()
    assert stage.verdict("victim") == "payable, confirmed"
    assert stage.verdict("thief") in {"held: contradicts", "excluded: contradicts", "excluded: unconfirmed"}
    stage.later(days=10)
    stage.accrue()
    assert stage.verdict("victim") == "payable, confirmed"
    assert stage.verdict("thief").startswith("excluded")
