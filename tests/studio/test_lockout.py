"""Who tries too many passwords waits longer and longer, on a clock of its own."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app import lockout
from app.lockout import FORGET, Lockout

FREE = 3


@pytest.fixture
def door() -> Lockout:
    return Lockout(FREE, first=2.0, longest=10.0)


def fail(door: Lockout, count: int, now: float = 0.0) -> None:
    for _ in range(count):
        assert door.begin("ada", now) == 0.0


def test_the_first_tries_are_free(door: Lockout) -> None:
    fail(door, FREE)
    assert door.begin("ada", 0.0) == 2.0


def test_each_further_try_waits_twice_as_long_up_to_the_longest(door: Lockout) -> None:
    fail(door, FREE)
    now, waits = 0.0, []
    for _ in range(5):
        waits.append(door.begin("ada", now))
        now += waits[-1]
        assert door.begin("ada", now) == 0.0
    assert waits == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_try_that_has_to_wait_counts_as_none(door: Lockout) -> None:
    fail(door, FREE)
    assert [door.begin("ada", at) for at in (0.5, 1.0, 1.5)] == [1.5, 1.0, 0.5]
    assert door.begin("ada", 2.0) == 0.0


def test_one_name_does_not_wait_for_another(door: Lockout) -> None:
    fail(door, FREE)
    assert door.begin("bob", 0.0) == 0.0


def test_a_success_forgives(door: Lockout) -> None:
    fail(door, FREE)
    door.succeed("ada")
    fail(door, FREE)


def test_a_try_taken_back_forgives_none_before_it(door: Lockout) -> None:
    fail(door, FREE)
    door.take_back("ada")
    assert door.begin("ada", 0.0) == 0.0
    assert door.begin("ada", 0.0) == 2.0
    door.take_back("nobody")


def test_an_hour_of_quiet_forgives(door: Lockout) -> None:
    fail(door, FREE)
    assert door.begin("ada", FORGET) == 0.0
    fail(door, FREE - 1, FORGET)
    assert door.begin("ada", FORGET) == 2.0


def test_many_tries_at_once_are_no_way_around(door: Lockout) -> None:
    with ThreadPoolExecutor(8) as threads:
        waits = list(threads.map(lambda _: door.begin("ada", 0.0), range(64)))
    assert waits.count(0.0) == FREE


def test_no_flood_of_names_fills_the_memory(door: Lockout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "ROOM", 10)
    fail(door, FREE)
    for n in range(9):
        door.begin(f"name {n}", 0.0)
    assert door.begin("ada", 0.0) == 2.0
    door.begin("one more", 0.0)
    assert len(door._tries) == 10
    assert door.begin("ada", 0.0) == 0.0  # the longest quiet went first
