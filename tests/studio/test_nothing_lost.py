"""Nothing acknowledged is lost: kills, races, many writers; at full size in `make soak`."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from app.errors import Conflict
from app.records import Instance
from app.store import Store
from tests.studio.databases import NOW, add_leaf
from tests.studio.nursery import Nursery, kill, wait_until
from tests.studio.writers import is_torn

pytestmark = pytest.mark.soak
Scale = Callable[[int, int], int]
Tell = Callable[[str], None]


@pytest.mark.parametrize(
    ("processes", "threads", "small", "full"),
    [
        pytest.param(1, 1, 3, 200, id="one-writer"),
        pytest.param(4, 1, 4, 200, id="four-processes"),
        pytest.param(1, 20, 1, 50, id="20-threads"),
    ],
)
def test_killed_writers_lose_no_acknowledged_save(
    nursery: Nursery,
    tmp_path: Path,
    scale: Scale,
    tell: Tell,
    processes: int,
    threads: int,
    small: int,
    full: int,
) -> None:
    place, acks = tmp_path / "studio.db", tmp_path / "acks"
    acks.mkdir()
    keys = range(1, processes * threads + 1)
    with closing(Store(place)) as store:
        leaf = add_leaf(store)
        for _ in keys[1:]:
            store.add_instance(leaf.image_id, leaf.draft, "Ada", "box", NOW)
    chance, known = random.Random(0), dict.fromkeys(keys, 1)
    kills = total = 0
    while kills < scale(small, full):
        pids = [
            nursery.begin(
                "tests.studio.writers:save_many", place, acks, *own, output=tmp_path / "said"
            )
            for own in batched(keys, threads)
        ]
        wait_until(lambda: all(read(acks / str(key)) for key in keys))
        time.sleep(chance.uniform(0, 0.1))
        for pid in pids:
            kill(pid)
        kills += len(pids)
        with closing(Store(place)) as store:
            assert list(store.find_troubles()) == []
            for key in keys:
                last = read(acks / str(key))[-1]
                total += last - known[key]
                known[key] = store.get_instance(key).version
                assert last <= known[key] <= last + 1
        for key in keys:
            (acks / str(key)).unlink()
    with closing(Store(place)) as store:
        revisions = list(store.list_project_revisions(1))
    assert not any(map(is_torn, revisions))
    assert len(revisions) == sum(known.values()) > len(keys)
    tell(f"{kills} kills, {total} saves acknowledged, {len(revisions)} kept, none lost or torn")


def batched(keys: range, size: int) -> list[range]:
    return [keys[first : first + size] for first in range(0, len(keys), size)]


def read(path: Path) -> list[int]:
    """Versions that were acknowledged; a line cut short was not."""
    if not path.exists():
        return []
    return [int(line) for line in path.read_text().rpartition("\n")[0].split()]


def test_many_writers_are_never_told_to_come_back(
    store: Store, leaf: Instance, scale: Scale, tell: Tell
) -> None:
    writers, saves = scale(8, 32), scale(10, 1000)
    made = [store.add_instance(leaf.image_id, leaf.draft, "Ada", "", NOW) for _ in range(writers)]

    def write(instance: Instance) -> None:
        for version in range(1, saves + 1):
            store.save_instance(instance.id, instance.draft, version, "Ada", "", NOW)

    begin = time.perf_counter()
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, made))
    took = time.perf_counter() - begin
    assert [store.get_instance(i.id).version for i in made] == [saves + 1] * writers
    assert list(store.find_troubles()) == []
    name = store.engine_name()
    tell(f"{name}: {writers} writers x {saves} saves in {took:.0f} s, none busy, none lost")


def test_each_race_has_one_winner_and_its_loser_is_kept(
    store: Store, leaf: Instance, scale: Scale, tell: Tell
) -> None:
    races = scale(15, 500)
    start = Barrier(2, timeout=120)

    def save(score: float) -> list[Instance | Conflict]:
        results: list[Instance | Conflict] = []
        chance = random.Random(score)
        for version in range(1, races + 1):
            draft = replace(leaf.draft, score=score)
            start.wait()
            time.sleep(chance.uniform(0, 0.002))  # else who came last always goes first
            try:
                results.append(store.save_instance(leaf.id, draft, version, str(score), "", NOW))
            except Conflict as error:
                results.append(error)
        return results

    with ThreadPoolExecutor(2) as pool:
        pairs = list(zip(*pool.map(save, (0.25, 0.75)), strict=True))
    history = {r.id: r for r in store.list_revisions(leaf.id)}
    for version, pair in enumerate(pairs, start=2):
        (winner,) = (r for r in pair if isinstance(r, Instance))
        (loser,) = (r for r in pair if isinstance(r, Conflict))
        kept = history[loser.kept]
        assert (winner.version, kept.version, kept.is_conflict) == (version, version, True)
        assert {winner.draft.score, kept.draft.score} == {0.25, 0.75}
    assert len(history) == 1 + 2 * races
    wins = sum(isinstance(pair[0], Instance) for pair in pairs)
    tell(f"{store.engine_name()}: {races} races, {wins} won by the one, all losers kept")
