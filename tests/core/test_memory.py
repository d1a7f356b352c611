"""When memory runs short the same work is done in smaller portions, and people are told."""

import pytest
import torch

from mal_core.errors import TrainingError
from mal_core.memory import Portions, is_shortage

SHORTAGES = [
    pytest.param(MemoryError(), id="python"),
    pytest.param(torch.OutOfMemoryError("CUDA out of memory."), id="gpu"),
    pytest.param(RuntimeError("CUDA error: out of memory"), id="driver"),
    pytest.param(
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 4294967296 bytes. Error code 12 (Cannot allocate memory)"
        ),
        id="cpu",
    ),
]


@pytest.mark.parametrize("error", SHORTAGES)
def test_a_shortage_is_known_by_what_torch_and_python_say(error: Exception) -> None:
    assert is_shortage(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory")])
def test_other_errors_are_no_shortage(error: Exception) -> None:
    assert not is_shortage(error)


def test_torch_s_own_words_are_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_shortage(caught.value)


@pytest.mark.parametrize("error", SHORTAGES)
def test_work_is_tried_with_half_as_much_until_it_fits(error: Exception) -> None:
    portions, tried = Portions(8), []

    def work(size: int) -> str:
        tried.append(size)
        if size > 2:
            raise error
        return "done"

    assert portions.run(work) == "done"
    assert tried == [8, 4, 2]
    assert [event["text"] for event in portions.tell()] == [
        "memory was short: crops are computed 4 at a time",
        "memory was short: crops are computed 2 at a time",
    ]
    assert list(portions.tell()) == []  # once is enough
    assert portions.run(work) == "done"
    assert tried[3:] == [2]  # and it stays so


def test_an_odd_size_comes_down_to_one() -> None:
    portions, tried = Portions(7), []

    def work(size: int) -> None:
        tried.append(size)
        raise MemoryError

    with pytest.raises(TrainingError, match="not enough memory for one crop"):
        portions.run(work)
    assert tried == [7, 3, 1]


def test_other_errors_are_passed_on_at_once() -> None:
    def work(_: int) -> None:
        raise RuntimeError("shapes differ")

    portions = Portions(8)
    with pytest.raises(RuntimeError, match="shapes differ"):
        portions.run(work)
    assert portions.size == 8
