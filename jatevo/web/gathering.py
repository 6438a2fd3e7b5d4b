"""Answering many requests together: whatever waits is taken at once, so that each store is asked once for all of it.

While a group is answered, more requests arrive, and wait for the next turn. When idle, nothing waits for a timer. Nothing
is kept: a question is answered once what it caused is committed. `Gatherer` is for an event loop, `Together` for the
threads of a web server.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


# So many questions at a time may wait for something that others do not.
MOST_ALONE: Final = 4


@dataclass(frozen=True)
class Later(Generic[A]):
    """An answer that may have to wait for something: the function is called in a thread of its own."""

    answer: Callable[[], A]


class TooManyWaiting(Exception):
    """The queue is full. Nothing was done."""


class Patience:
    """How long a turn waits for those that were just answered, because they often have more to ask.

    Until as many wait as did before, or as long as the last turn took, but no less and no more than the two numbers of
    seconds: a busy machine has longer turns, and then large groups help most. Otherwise the few that came during a turn
    would have the next for themselves, while all others wait for the one after that, and so on for ever.
    """

    def __init__(self, seconds: tuple[float, float], most_together: int) -> None:
        self._least, self._most = seconds
        self._most_together = most_together
        self._until = 0.0
        self.expected = 0

    def left(self, now: float) -> float:
        """Seconds that a turn may still wait."""
        return self._until - now

    def after_turn(self, begun: float, now: float, *, asked: int) -> None:
        """A turn is over. So many were answered or came meanwhile."""
        self.expected = min(asked, self._most_together)
        self._until = now + min(max(now - begun, self._least), self._most)


class Gatherer(Generic[Q, A]):
    """Gathers questions of one event loop and answers them in threads, group by group.

    `answer` returns an answer to each question, in their order, or Later, so that the group does not wait for it. A group
    has at most `most_together` questions, and the sum of what they `weigh` is at most `most_weight`, unless a single one
    weighs more.

    While a group is answered, the next one gathers, because a large group costs less than two small ones. It begins
    meanwhile once it has `worth_a_turn` questions or is as large as it may be, if fewer than `turns` are under way.

    A turn leaves those that were just answered time to ask again (`Patience`).

    `at_end` is called in each thread that answered groups, such as to give its connection back.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Q]], Sequence[A | Later[A]]],
        *,
        weigh: Callable[[Q], int],
        turns: int,
        worth_a_turn: int,
        most_waiting: int,
        most_together: int,
        most_weight: int,
        patience_seconds: tuple[float, float],
        at_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._answer = answer
        self._at_end = at_end
        self._patience = Patience(patience_seconds, most_together)
        self._timer: asyncio.TimerHandle | None = None
        self._weigh = weigh
        self._turns = turns
        self._worth_a_turn = min(worth_a_turn, most_together)
        self._most_waiting = most_waiting
        self._most_together = most_together
        self._most_weight = most_weight
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._waiting_weight = 0
        self._running = 0
        self._threads = ThreadPoolExecutor(turns, thread_name_prefix="gatherer")
        self._alone = ThreadPoolExecutor(MOST_ALONE, thread_name_prefix="alone")

    async def ask(self, question: Q) -> A:
        """The answer. Raises TooManyWaiting, or what `answer` raises for the whole group."""
        if len(self._waiting) >= self._most_waiting:
            raise TooManyWaiting
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, future))
        self._waiting_weight += self._weigh(question)
        if self._may_begin():
            loop.call_soon(self._begin)  # once all that has just arrived waits
        return await future

    def close(self) -> None:
        """Waits until the groups that are under way are answered."""
        all_of_them = threading.Barrier(self._turns)
        for _ in range(self._turns):
            self._threads.submit(self._end_thread, all_of_them)
        self._threads.shutdown(wait=True)
        self._alone.shutdown(wait=True)

    def _end_thread(self, all_of_them: threading.Barrier) -> None:
        all_of_them.wait()  # so that no thread is asked twice
        self._at_end()

    def _begin(self) -> None:
        """Takes turns, unless more questions are likely to come in a moment."""
        loop = asyncio.get_running_loop()
        left = self._patience.left(loop.time())
        if left <= 0 or len(self._waiting) >= self._patience.expected or self._is_worth_a_turn():
            self._take_turns()
        elif self._waiting and self._timer is None:
            self._timer = loop.call_later(left, self._take_turns)

    def _take_turns(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._waiting and self._may_begin():
            self._running += 1
            group = self._group()
            turn = loop.run_in_executor(self._threads, self._answer, [question for question, _ in group])
            turn.add_done_callback(partial(self._deliver, group, loop.time()))

    def _may_begin(self) -> bool:
        return self._running == 0 or (self._running < self._turns and self._is_worth_a_turn())

    def _is_worth_a_turn(self) -> bool:
        return len(self._waiting) >= self._worth_a_turn or self._waiting_weight >= self._most_weight

    def _group(self) -> list[tuple[Q, "asyncio.Future[A]"]]:
        group = [self._waiting.popleft()]
        weight = self._weigh(group[0][0])
        while self._waiting and len(group) < self._most_together:
            weight += self._weigh(self._waiting[0][0])
            if weight > self._most_weight:
                break
            group.append(self._waiting.popleft())
        self._waiting_weight -= sum(self._weigh(question) for question, _ in group)
        return group

    def _deliver(
        self,
        group: Sequence[tuple[Q, "asyncio.Future[A]"]],
        begun: float,
        turn: "asyncio.Future[Sequence[A | Later[A]]]",
    ) -> None:
        now = asyncio.get_running_loop().time()
        self._running -= 1
        self._patience.after_turn(begun, now, asked=len(group) + len(self._waiting))
        self._begin()
        error = turn.exception()
        answers = [] if error else turn.result()
        for number, (_, future) in enumerate(group):
            if future.done():  # the client has gone
                continue
            if error:
                future.set_exception(error)
            elif isinstance(answer := answers[number], Later):
                self._answer_later(answer, future)
            else:
                future.set_result(answer)

    def _answer_later(self, later: Later[A], future: "asyncio.Future[A]") -> None:
        def deliver(turn: "asyncio.Future[A]") -> None:
            if future.done():
                return
            if error := turn.exception():
                future.set_exception(error)
            else:
                future.set_result(turn.result())

        asyncio.get_running_loop().run_in_executor(self._alone, later.answer).add_done_callback(deliver)


class _Ticket(Generic[Q, A]):
    """A question of a thread, and what the thread that answers it leaves for it."""

    def __init__(self, question: Q) -> None:
        self.question = question
        self._ready = threading.Lock()  # an Event costs twice as much
        self._ready.acquire()
        self.answer: A | Later[A] | None = None
        self.error: Exception | None = None
        self.answered = False

    def wait(self) -> None:
        """Until it is answered, or has the next turn."""
        self._ready.acquire()

    def wake(self) -> None:
        self._ready.release()


class Together(Generic[Q, A]):
    """Gathers questions of threads. The first that comes answers; those that come meanwhile wait, and one of them then
    answers all of these. So a question alone is answered in its own thread, and nobody answers more than one group.

    `answer` and `patience_seconds` are those of Gatherer, and no answer is None.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Q]], Sequence[A | Later[A]]],
        *,
        most_together: int,
        patience_seconds: tuple[float, float],
    ) -> None:
        self._answer = answer
        self._most_together = most_together
        self._patience = Patience(patience_seconds, most_together)
        self._enough = threading.Condition(threading.Lock())
        self._waiting: deque[_Ticket[Q, A]] = deque()
        self._busy = False

    def ask(self, question: Q) -> A:
        """The answer. Raises what `answer` raises for the whole group."""
        own: _Ticket[Q, A] = _Ticket(question)
        with self._enough:
            self._waiting.append(own)
            waits, self._busy = self._busy, True
            if self._are_enough():
                self._enough.notify()
        if waits:
            own.wait()
        if not own.answered:
            self._take_turn()
        if own.answer is None:
            raise own.error or RuntimeError("the thread whose turn it was has been ended")
        return own.answer.answer() if isinstance(own.answer, Later) else own.answer

    def _take_turn(self) -> None:
        """Answers the group whose first question is this thread's own."""
        with self._enough:
            left = self._patience.left(time.monotonic())
            if left > 0:
                self._enough.wait_for(self._are_enough, left)
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most_together))]
        begun = time.monotonic()
        try:
            answers = self._answer([each.question for each in group])
            for each, answer in zip(group, answers, strict=True):
                each.answer = answer
        except Exception as error:
            for each in group:
                each.error = error
        finally:
            with self._enough:
                self._patience.after_turn(begun, time.monotonic(), asked=len(group) + len(self._waiting))
                self._busy = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].wake()
            for each in group:
                each.answered = True
                each.wake()

    def _are_enough(self) -> bool:
        return len(self._waiting) >= self._patience.expected
