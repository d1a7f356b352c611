"""The teacher is the running mean of its student, in closed form."""

import pytest
import torch
from torch import nn

from mal_core.teacher import Teacher


class Network(nn.Module):
    """One weight, a float buffer, a counter, and a buffer that no state_dict holds."""

    scale: torch.Tensor
    seen: torch.Tensor
    hidden: torch.Tensor

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)
        nn.init.constant_(self.linear.weight, value)
        nn.init.constant_(self.linear.bias, -value)
        self.register_buffer("scale", torch.tensor(value))
        self.register_buffer("seen", torch.tensor(0))
        self.register_buffer("hidden", torch.tensor(value), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.linear(x) * self.scale
        return answer


def fill(network: Network, value: float, seen: int = 0) -> Network:
    with torch.no_grad():
        network.linear.weight.fill_(value)
        network.linear.bias.fill_(-value)
        network.scale.fill_(value)
        network.hidden.fill_(value)
        network.seen.fill_(seen)
    return network


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9, 0.996, 1.0])
def test_updates_follow_the_closed_form(momentum: float) -> None:
    student = Network(1.0)
    teacher = Teacher(student, momentum)
    expected = 1.0
    for step in range(40):
        target = 3.0 - 0.1 * step
        teacher.update(fill(student, target, seen=step), step)
        kept = min(momentum, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * target
    module = teacher.module
    assert module.linear.weight.flatten().tolist() == pytest.approx([expected] * 2, rel=1e-5)
    assert module.linear.bias.tolist() == pytest.approx([-expected], rel=1e-5)


def test_a_constant_student_is_approached_by_powers_of_the_momentum() -> None:
    teacher = Teacher(Network(0.0), 0.5)
    student = Network(1.0)
    for _ in range(6):
        teacher.update(student, step=10**6)
    assert teacher.module.scale.item() == pytest.approx(1 - 0.5**6)


def test_float_buffers_follow_and_counters_are_copied() -> None:
    teacher = Teacher(Network(0.0), 0.996)
    teacher.update(fill(Network(), 2.0, seen=7), step=0)
    assert teacher.module.scale.item() == pytest.approx(1.8)  # the first update keeps 1/10
    assert teacher.module.hidden.item() == pytest.approx(1.8)
    assert teacher.module.seen.item() == 7


def test_the_teacher_is_a_copy_that_does_not_learn() -> None:
    student = Network(1.0).train()
    teacher = Teacher(student, 0.9)
    fill(student, 5.0)
    assert teacher.module.scale.item() == 1.0
    assert not teacher.module.training
    assert student.training
    assert not any(p.requires_grad for p in teacher.module.parameters())
    assert all(p.requires_grad for p in student.parameters())
    x = torch.ones(1, 2, requires_grad=True)
    assert not teacher(x).requires_grad


def test_a_low_precision_student_has_a_float32_teacher() -> None:
    student = Network(1.0).bfloat16()
    teacher = Teacher(student, 0.996)
    for _ in range(100):
        teacher.update(fill(student, 1.0078125), step=10**6)  # bfloat16 could not hold the way
    weight = teacher.module.linear.weight
    assert weight.dtype is torch.float32
    assert weight[0, 0].item() == pytest.approx(1.0078125 - 0.0078125 * 0.996**100, rel=1e-6)
    assert student.linear.weight.dtype is torch.bfloat16


def test_a_saved_teacher_goes_on_as_if_never_stopped() -> None:
    teacher, student = Teacher(Network(0.0), 0.9), Network(1.0)
    teacher.update(student, 0)
    again = Teacher(Network(4.0), 0.9)
    again.module.load_state_dict(teacher.module.state_dict())
    teacher.update(student, 1)
    again.update(student, 1)
    assert again.module.scale.item() == teacher.module.scale.item()


def test_the_student_is_not_changed() -> None:
    student = Network(3.0)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    Teacher(Network(0.0), 0.9).update(student, 3)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(nn.Linear(2, 1), id="other-names"),
        pytest.param(nn.Sequential(nn.Linear(3, 1)), id="other-shapes"),
    ],
)
def test_another_network_is_refused(other: nn.Module) -> None:
    teacher = Teacher(nn.Sequential(nn.Linear(2, 1)), 0.9)
    with pytest.raises(ValueError, match="not the network that the teacher copied"):
        teacher.update(other, 0)


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_a_momentum_out_of_range_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match="momentum must be 0 to 1"):
        Teacher(Network(), momentum)
