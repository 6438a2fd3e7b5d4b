"""Properties of every possible node lifecycle, whatever happens and in which order.

The reference model below is deliberately different: it keeps a node's whole history and decides from that,
whereas nodes/rules/lifecycle.py keeps counters in a state and looks up a table.
"""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nodes.rules.lifecycle import TABLE, Event, LifecycleState, Phase, Reason, StepOutcome, step

EVENTS = st.sampled_from(Event)
LIVES = st.lists(EVENTS, max_size=60)
STATES = st.builds(
    LifecycleState,
    phase=st.sampled_from(Phase),
    failed_probes=st.integers(0, 5),
    passed_audits=st.integers(0, 5),
    fraud=st.booleans(),
)

BLAMES = {
    Event.RECEIPT_FORGED: Reason.RECEIPT_FORGED,
    Event.FRAUD_SUSPECTED: Reason.FRAUD_SUSPECTED,
    Event.RELATED_TO_FRAUD: Reason.RELATED_TO_FRAUD,
    Event.AUDIT_FAILED: Reason.AUDIT_FAILED,
    Event.QUARANTINED_BY_ADMIN: Reason.ADMIN,
    Event.HEARTBEATS_MISSED: Reason.HEARTBEATS_MISSED,
    Event.REPUTATION_LOW: Reason.REPUTATION_LOW,
    Event.SLO_BREACHED: Reason.SLO_BREACHED,
}
OF_FRAUD = {Event.RECEIPT_FORGED, Event.FRAUD_SUSPECTED, Event.RELATED_TO_FRAUD}
WATCHED_ONLY = {
    Event.HEARTBEATS_MISSED,
    Event.REPUTATION_LOW,
    Event.SLO_BREACHED,
}  # only for active nodes


class Model:
    """A node's history as (event, phase at the time), and rules that read it backwards."""

    def __init__(self) -> None:
        self.phase = Phase.REGISTERED
        self.spell: list[Event] = []  # what happened since the node came to its present phase
        self.fraud = False  # fraud, its own or another's, since the node was last cleared

    def happen(self, event: Event) -> Reason | None:
        """Applies the event. Returns the reason for the move that it causes, if any."""
        self.spell.append(event)
        if event in OF_FRAUD:
            self.fraud = True
        verdict = self._verdict(event)
        if verdict is None:
            return None
        self.phase, reason = verdict
        self.spell = []
        if event is Event.CLEARED_BY_ADMIN:
            self.fraud = False
        return reason

    def _verdict(self, event: Event) -> tuple[Phase, Reason] | None:
        if self.phase is Phase.QUARANTINE:
            return self._release(event)
        if event in BLAMES and (event not in WATCHED_ONLY or self.phase is Phase.ACTIVE):
            return Phase.QUARANTINE, BLAMES[event]
        if event is Event.HEARTBEAT and self.phase in (Phase.REGISTERED, Phase.OFFLINE):
            return Phase.PROBING, Reason.FIRST_HEARTBEAT
        if event is Event.SILENT and self.phase is Phase.ACTIVE:
            return Phase.OFFLINE, Reason.NO_HEARTBEAT
        if event is Event.SILENT_IN_MAINTENANCE and self.phase is Phase.ACTIVE:
            return Phase.OFFLINE, Reason.MAINTENANCE
        if self.phase is Phase.PROBING:
            probes = [e for e in self.spell if e in (Event.PROBE_PASSED, Event.PROBE_FAILED)]
            if event is Event.PROBE_PASSED:
                return Phase.ACTIVE, Reason.PROBE_PASSED
            if event is Event.PROBE_FAILED and probes[-3:] == [Event.PROBE_FAILED] * 3:
                return Phase.QUARANTINE, Reason.PROBES_FAILED
        return None

    def _release(self, event: Event) -> tuple[Phase, Reason] | None:
        if event is Event.CLEARED_BY_ADMIN:
            return Phase.REGISTERED, Reason.CLEARED
        audits = [e for e in self.spell if e in (Event.AUDIT_PASSED, Event.AUDIT_FAILED)]
        if event is Event.AUDIT_PASSED and audits[-3:] == [Event.AUDIT_PASSED] * 3 and not self.fraud:
            return Phase.ACTIVE, Reason.AUDITS_PASSED
        return None


class LifeMachine(RuleBasedStateMachine):
    """Applies the same events to the table and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.state = LifecycleState(Phase.REGISTERED)
        self.model = Model()

    def live(self, event: Event) -> None:
        outcome = step(self.state, event)
        reason = self.model.happen(event)
        assert (outcome.move.reason if outcome.move else None) is reason
        self.state = outcome.state

    @rule(event=EVENTS)
    def anything(self, event: Event) -> None:
        self.live(event)

    # Rules of their own make the long ways likely, which single random events hardly ever walk.
    @rule()
    def become_active(self) -> None:
        self.live(Event.HEARTBEAT)
        self.live(Event.PROBE_PASSED)

    @rule(event=st.sampled_from([Event.AUDIT_PASSED, Event.PROBE_FAILED]), times=st.integers(2, 3))
    def run_of(self, event: Event, times: int) -> None:
        for _ in range(times):
            self.live(event)

    @invariant()
    def same_phase(self) -> None:
        assert self.state.phase is self.model.phase

    @invariant()
    def fraud_is_a_quarantine_with_fraud_since_the_last_clear(self) -> None:
        assert self.state.fraud is (self.model.fraud and self.state.phase is Phase.QUARANTINE)
        assert not self.state.fraud or self.state.phase is Phase.QUARANTINE


LifeMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestLife = LifeMachine.TestCase


def lived(events: list[Event], start: LifecycleState) -> list[tuple[LifecycleState, Event, StepOutcome]]:
    """Every step of a life: the state before, the event, the outcome."""
    steps = []
    state = start
    for event in events:
        outcome = step(state, event)
        steps.append((state, event, outcome))
        state = outcome.state
    return steps


@given(LIVES)
def test_only_three_audits_in_a_row_or_a_clear_end_quarantine(events: list[Event]) -> None:
    steps = lived(events, LifecycleState(Phase.QUARANTINE))
    for position, (before, event, outcome) in enumerate(steps):
        if before.phase is not Phase.QUARANTINE or outcome.state.phase is Phase.QUARANTINE:
            continue
        assert event in (Event.AUDIT_PASSED, Event.CLEARED_BY_ADMIN)
        if event is Event.AUDIT_PASSED:
            audits = [e for _, e, _ in steps[: position + 1] if e in (Event.AUDIT_PASSED, Event.AUDIT_FAILED)]
            assert audits[-3:] == [Event.AUDIT_PASSED] * 3
            assert not before.fraud


@given(st.lists(EVENTS.filter(lambda event: event is not Event.CLEARED_BY_ADMIN), max_size=60))
def test_fraud_lasts_until_it_is_cleared(events: list[Event]) -> None:
    for _, _, outcome in lived(events, LifecycleState(Phase.QUARANTINE, fraud=True)):
        assert outcome.move is None
        assert (outcome.state.phase, outcome.state.fraud) == (Phase.QUARANTINE, True)


@given(
    st.lists(
        EVENTS.filter(lambda event: event not in (Event.CLEARED_BY_ADMIN, Event.AUDIT_PASSED)), max_size=60
    )
)
def test_nothing_but_audits_and_clear_gets_out_of_quarantine(events: list[Event]) -> None:
    for _, _, outcome in lived(events, LifecycleState(Phase.QUARANTINE)):
        assert outcome.move is None


@given(LIVES)
def test_only_a_probe_or_audits_make_a_node_active(events: list[Event]) -> None:
    for before, event, outcome in lived(events, LifecycleState(Phase.REGISTERED)):
        if outcome.state.phase is Phase.ACTIVE and before.phase is not Phase.ACTIVE:
            assert (before.phase, event) in (
                (Phase.PROBING, Event.PROBE_PASSED),
                (Phase.QUARANTINE, Event.AUDIT_PASSED),
            )


@given(LIVES)
def test_offline_leads_only_to_probing_or_quarantine(events: list[Event]) -> None:
    for before, _, outcome in lived(events, LifecycleState(Phase.OFFLINE)):
        if before.phase is Phase.OFFLINE and outcome.move:
            assert outcome.state.phase in (Phase.PROBING, Phase.QUARANTINE)


@given(STATES, EVENTS)
def test_move_says_where_and_why(state: LifecycleState, event: Event) -> None:
    outcome = step(state, event)
    if outcome.move is None:
        assert outcome.state.phase is state.phase
    else:
        assert outcome.move is TABLE[state.phase][event]
        assert outcome.state.phase is outcome.move.to
        assert outcome.move.to is not state.phase


@given(STATES, EVENTS)
def test_runs_start_again_in_a_new_phase(state: LifecycleState, event: Event) -> None:
    outcome = step(state, event)
    if outcome.move:
        assert (outcome.state.failed_probes, outcome.state.passed_audits) == (0, 0)


@given(STATES, EVENTS)
def test_event_outside_its_phase_changes_nothing_at_all(state: LifecycleState, event: Event) -> None:
    counted = {
        Phase.PROBING: {Event.PROBE_FAILED},
        Phase.QUARANTINE: {Event.AUDIT_PASSED, Event.AUDIT_FAILED, *OF_FRAUD},
    }
    if event not in TABLE[state.phase] and event not in counted.get(state.phase, set()):
        assert step(state, event) == StepOutcome(state, None)


@given(STATES, EVENTS)
def test_step_gives_the_same_answer_again(state: LifecycleState, event: Event) -> None:
    assert step(state, event) == step(state, event)


@given(LIVES)
def test_recorded_moves_form_an_unbroken_chain(events: list[Event]) -> None:
    moves = [
        (before.phase, outcome.state.phase)
        for before, _, outcome in lived(events, LifecycleState(Phase.REGISTERED))
        if outcome.move
    ]
    assert all(end is start for (_, end), (start, _) in pairwise(moves))
    assert not moves or moves[0][0] is Phase.REGISTERED
