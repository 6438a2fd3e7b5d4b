"""What waits is answered together, within bounds, and each question gets its own answer."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from jatevo.web.gathering import Gatherer, Later, Patience, Together, TooManyWaiting


class Groups:
    """Answers each number with its double, and notes which were asked together. The first group waits for `open`."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.seen: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.seen.append(list(numbers))
        assert self.open.wait(30)
        return [2 * number for number in numbers]


def gatherer(
    answer: Callable[[Sequence[int]], Sequence[int | Later[int]]],
    *,
    turns: int = 1,
    worth_a_turn: int = 100,
    most_waiting: int = 100,
    most_together: int = 100,
    most_weight: int = 10_000,
    patience_seconds: tuple[float, float] = (0.0, 0.0),
) -> Gatherer[int, int]:
    return Gatherer(
        answer,
        weigh=lambda number: number,
        turns=turns,
        worth_a_turn=worth_a_turn,
        most_waiting=most_waiting,
        most_together=most_together,
        most_weight=most_weight,
        patience_seconds=patience_seconds,
    )


def long_over() -> Patience:
    """After a turn of three that is longer ago than its patience of half a minute."""
    found = Patience((30, 30), 100)
    found.after_turn(0, time.monotonic() - 60, asked=3)
    assert found.expected == 3
    return found


async def ask_all(asked: Gatherer[int, int], numbers: Sequence[int]) -> list[int | BaseException]:
    tasks = [asyncio.ensure_future(asked.ask(number)) for number in numbers]
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_what_comes_in_one_moment_is_asked_together_and_answered_in_order() -> None:
    groups = Groups()
    groups.open.set()
    assert asyncio.run(ask_all(gatherer(groups), [3, 1, 2])) == [6, 2, 4]
    assert groups.seen == [[3, 1, 2]]


def test_what_comes_during_a_turn_waits_for_the_next() -> None:
    groups = Groups()

    async def story() -> list[int]:
        asked = gatherer(groups)
        first = asyncio.ensure_future(asked.ask(1))
        while not groups.seen:
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(asked.ask(number)) for number in (2, 3, 4)]
        await asyncio.sleep(0.01)
        assert groups.seen == [[1]], "one turn at a time"
        groups.open.set()
        return [await each for each in (first, *others)]

    assert asyncio.run(story()) == [2, 4, 6, 8]
    assert groups.seen == [[1], [2, 3, 4]]


def test_only_a_full_group_begins_during_a_turn() -> None:
    groups = Groups()

    async def story() -> list[int]:
        asked = gatherer(groups, turns=2, most_weight=10)
        tasks = [asyncio.ensure_future(asked.ask(1))]
        while not groups.seen:
            await asyncio.sleep(0)
        tasks.append(asyncio.ensure_future(asked.ask(4)))
        await asyncio.sleep(0.01)
        assert groups.seen == [[1]], "less than a group waits"
        tasks.append(asyncio.ensure_future(asked.ask(6)))
        while len(groups.seen) < 2:
            await asyncio.sleep(0)
        tasks.append(asyncio.ensure_future(asked.ask(10)))
        await asyncio.sleep(0.01)
        assert groups.seen == [[1], [4, 6]], "two turns are under way"
        groups.open.set()
        return [await each for each in tasks]

    assert asyncio.run(story()) == [2, 8, 12, 20]
    assert groups.seen == [[1], [4, 6], [10]]


def test_as_many_as_are_worth_a_turn_do_not_wait_for_the_one_under_way() -> None:
    groups = Groups()

    async def story() -> list[int]:
        asked = gatherer(groups, turns=2, worth_a_turn=3)
        tasks = [asyncio.ensure_future(asked.ask(1))]
        while not groups.seen:
            await asyncio.sleep(0)
        tasks += [asyncio.ensure_future(asked.ask(number)) for number in (2, 3)]
        await asyncio.sleep(0.01)
        assert groups.seen == [[1]], "two are not worth it"
        tasks.append(asyncio.ensure_future(asked.ask(4)))
        while len(groups.seen) < 2:
            await asyncio.sleep(0)
        groups.open.set()
        return [await each for each in tasks]

    assert asyncio.run(story()) == [2, 4, 6, 8]
    assert groups.seen == [[1], [2, 3, 4]]


def test_clients_that_ask_again_at_once_are_answered_together_from_the_second_turn_on() -> None:
    groups = Groups()
    groups.open.set()

    async def client(asked: Gatherer[int, int], number: int, *, times: int) -> None:
        for _ in range(times):
            assert await asked.ask(number) == 2 * number

    async def story() -> None:
        asked = gatherer(groups, patience_seconds=(30, 30))
        first = asyncio.ensure_future(client(asked, 1, times=5))
        while not groups.seen:
            await asyncio.sleep(0)
        await asyncio.gather(first, *(client(asked, number, times=4) for number in (2, 3, 4)))

    asyncio.run(asyncio.wait_for(story(), 20))
    assert [sorted(group) for group in groups.seen] == [[1], *[[1, 2, 3, 4]] * 4]


def test_patience_ends_and_when_idle_nothing_waits() -> None:
    groups = Groups()
    groups.open.set()

    async def story() -> float:
        asked = gatherer(groups, patience_seconds=(0.05, 0.05))
        await ask_all(asked, [1, 2])
        begun = time.monotonic()
        assert await asked.ask(3) == 6
        waited = time.monotonic() - begun
        await asyncio.sleep(0.1)
        asked._patience = long_over()
        assert await asyncio.wait_for(asked.ask(4), 5) == 8
        return waited

    assert asyncio.run(story()) >= 0.04
    assert groups.seen == [[1, 2], [3], [4]]


def test_after_a_long_turn_there_is_more_patience_up_to_a_limit() -> None:
    def answer(numbers: Sequence[int]) -> list[int]:
        time.sleep(0.1)
        return list(numbers)

    async def left(most: float) -> float:
        asked = gatherer(answer, patience_seconds=(0.0, most))
        await asked.ask(1)
        return asked._patience.left(asyncio.get_running_loop().time())

    assert 0.05 < asyncio.run(left(most=30)) < 30
    assert asyncio.run(left(most=0.01)) <= 0.01


def test_groups_are_bounded_by_number_and_weight() -> None:
    groups = Groups()
    groups.open.set()
    asked = gatherer(groups, most_together=3, most_weight=10)
    asyncio.run(ask_all(asked, [1, 1, 1, 1, 9, 1, 50, 1]))
    assert groups.seen == [[1, 1, 1], [1, 9], [1], [50], [1]], "a heavy one goes alone"


def test_beyond_the_queue_nothing_is_kept() -> None:
    groups = Groups()

    async def story() -> list[int | BaseException]:
        asked = gatherer(groups, most_waiting=2, most_together=1)
        first = asyncio.ensure_future(asked.ask(1))
        while not groups.seen:
            await asyncio.sleep(0)
        tasks = [asyncio.ensure_future(asked.ask(number)) for number in (2, 3, 4)]
        with pytest.raises(TooManyWaiting):
            await tasks[-1]
        groups.open.set()
        return await asyncio.gather(first, *tasks[:2], return_exceptions=True)

    assert asyncio.run(story()) == [2, 4, 6]
    assert groups.seen == [[1], [2], [3]]


def test_failure_is_the_answer_to_all_of_its_group_and_to_no_other() -> None:
    def answer(numbers: Sequence[int]) -> list[int]:
        if 13 in numbers:
            raise ValueError("unlucky")
        return list(numbers)

    async def story() -> list[int | BaseException]:
        asked = gatherer(answer, most_together=2)
        return await ask_all(asked, [1, 13, 2, 3])

    first, second, *rest = asyncio.run(story())
    assert isinstance(first, ValueError)
    assert isinstance(second, ValueError)
    assert rest == [2, 3]


def test_group_does_not_wait_for_one_that_has_to() -> None:
    door = threading.Event()

    def answer(numbers: Sequence[int]) -> list[int | Later[int]]:
        return [Later(lambda: -1 if door.wait(30) else 0) if number == 13 else number for number in numbers]

    async def story() -> int:
        asked = gatherer(answer)
        late = asyncio.ensure_future(asked.ask(13))
        assert [await asked.ask(1), await asked.ask(2)] == [1, 2]
        assert not late.done()
        door.set()
        return await late

    assert asyncio.run(story()) == -1


def test_client_that_has_gone_takes_nobody_with_it() -> None:
    groups = Groups()

    async def story() -> int:
        asked = gatherer(groups)
        gone, stays = (asyncio.ensure_future(asked.ask(number)) for number in (1, 2))
        while not groups.seen:
            await asyncio.sleep(0)
        gone.cancel()
        groups.open.set()
        return await stays

    assert asyncio.run(story()) == 4


def test_close_waits_for_what_is_under_way() -> None:
    groups = Groups()

    async def story() -> int:
        asked = gatherer(groups)
        waiting = asyncio.ensure_future(asked.ask(1))
        while not groups.seen:
            await asyncio.sleep(0)
        closing = asyncio.ensure_future(asyncio.to_thread(asked.close))
        await asyncio.sleep(0.01)
        assert not closing.done()
        groups.open.set()
        await closing
        return await waiting

    assert asyncio.run(story()) == 2


def together(
    answer: Callable[[Sequence[int]], Sequence[int | Later[int]]],
    *,
    most_together: int = 100,
    patience_seconds: tuple[float, float] = (0.0, 0.0),
) -> Together[int, int]:
    return Together(answer, most_together=most_together, patience_seconds=patience_seconds)


def ask_in_threads(asked_of: Together[int, int], groups: Groups, numbers: Sequence[int]) -> list[Future[int]]:
    """Asks the first number, and the others once its turn has begun and they wait. Then opens the door."""
    with ThreadPoolExecutor(len(numbers)) as pool:
        asked = [pool.submit(asked_of.ask, numbers[0])]
        while not groups.seen:
            time.sleep(0.001)
        for number in numbers[1:]:
            asked.append(pool.submit(asked_of.ask, number))
            while len(asked_of._waiting) < len(asked) - 1:
                time.sleep(0.001)
        groups.open.set()
    return asked


def test_threads_that_come_during_a_turn_are_answered_together() -> None:
    groups = Groups()
    asked = ask_in_threads(together(groups), groups, [1, 2, 3, 4])
    assert [each.result() for each in asked] == [2, 4, 6, 8]
    assert groups.seen == [[1], [2, 3, 4]]


def test_groups_of_threads_are_bounded_and_nobody_is_forgotten() -> None:
    groups = Groups()
    asked = ask_in_threads(together(groups, most_together=2), groups, [1, 2, 3, 4, 5, 6])
    assert [each.result() for each in asked] == [2, 4, 6, 8, 10, 12]
    assert groups.seen == [[1], [2, 3], [4, 5], [6]]


def test_threads_that_ask_again_at_once_are_answered_together_from_the_second_turn_on() -> None:
    groups = Groups()
    asked_of = together(groups, patience_seconds=(30, 30))

    def client(number: int, times: int) -> list[int]:
        return [asked_of.ask(number) for _ in range(times)]

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(client, 1, 5)
        while not groups.seen:
            time.sleep(0.001)
        others = [pool.submit(client, number, 4) for number in (2, 3, 4)]
        while len(asked_of._waiting) < 3:
            time.sleep(0.001)
        begun = time.monotonic()
        groups.open.set()
        assert [first.result(20), *(each.result(20) for each in others)] == [
            [2] * 5,
            [4] * 4,
            [6] * 4,
            [8] * 4,
        ]
    assert [sorted(group) for group in groups.seen] == [[1], *[[1, 2, 3, 4]] * 4]
    assert time.monotonic() - begun < 20, "nobody waits once all are there"


def test_patience_of_threads_ends_and_when_idle_nobody_waits() -> None:
    groups = Groups()
    groups.open.set()
    asked_of = together(groups, patience_seconds=(0.05, 0.05))
    asked_of._patience.after_turn(0, time.monotonic(), asked=3)
    begun = time.monotonic()
    assert asked_of.ask(4) == 8
    assert time.monotonic() - begun >= 0.04
    asked_of._patience = long_over()
    begun = time.monotonic()
    assert asked_of.ask(5) == 10
    assert time.monotonic() - begun < 20
    assert groups.seen == [[4], [5]]


def test_question_alone_is_answered_in_its_own_thread() -> None:
    def answer(numbers: Sequence[int]) -> list[int]:
        return [threading.get_ident() for _ in numbers]

    alone = together(answer)
    assert [alone.ask(1), alone.ask(2)] == [threading.get_ident()] * 2


def test_failure_is_raised_in_each_thread_of_the_group_and_the_next_turn_goes_on() -> None:
    groups = Groups()

    def answer(numbers: Sequence[int]) -> list[int]:
        doubles = groups(numbers)
        if 13 in numbers:
            raise ValueError("unlucky")
        return doubles

    by_twos = together(answer, most_together=2)
    asked = ask_in_threads(by_twos, groups, [1, 13, 2, 3])
    assert [each.exception() is None for each in asked] == [True, False, False, True]
    assert by_twos.ask(5) == 10


def test_thread_waits_itself_for_what_its_group_does_not_wait_for() -> None:
    groups = Groups()
    waited_in: list[int] = []

    def late() -> int:
        waited_in.append(threading.get_ident())
        return -1

    def answer(numbers: Sequence[int]) -> list[int | Later[int]]:
        groups(numbers)
        return [Later(late) if number == 13 else number for number in numbers]

    asked = ask_in_threads(together(answer), groups, [1, 2, 13])
    assert [each.result() for each in asked] == [1, 2, -1]
    assert len(waited_in) == 1
