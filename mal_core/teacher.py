"""The teacher: the student's running mean, steadier than the student, never trained itself.

Source: Lan et al., CVPR 2023, section 3.2; Tarvainen and Valpola, NIPS 2017.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn


class Teacher:
    """A float32 copy of a network that follows it slowly.

    Attributes:
        module: the copy, in evaluation mode and without gradients. Save and load it by its own
            state_dict and load_state_dict.
    """

    def __init__(self, student: nn.Module, momentum: float) -> None:
        """Start as the student.

        Args:
            student: the network to follow, not wrapped for data-parallel training.
            momentum: share of the old teacher that a late update keeps, 0 to 1.

        Raises:
            ValueError: the momentum is not within 0 to 1.
        """
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be 0 to 1, got {momentum}")
        self._momentum = momentum
        self.module = deepcopy(student).float().eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> Any:  # noqa: ANN401
        """What the teacher says of the student's inputs."""
        return self.module(*inputs)

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Move a little towards the student: theta <- m theta + (1 - m) student.

        m = min(momentum, (1 + step) / (10 + step)): a short run is not held back by where it
        began. Buffers follow too; those that are not floats are copied.

        Args:
            student: the network that this one started from, after the optimiser's step.
            step: optimiser steps done before this one, from 0.

        Raises:
            ValueError: the student has other tensors than the teacher.
        """
        kept = min(self._momentum, (1 + step) / (10 + step))
        mine, theirs = _tensors(self.module), _tensors(student)
        if {k: v.shape for k, v in mine.items()} != {k: v.shape for k, v in theirs.items()}:
            names = sorted(mine.keys() ^ theirs.keys())[:3]
            raise ValueError(f"the student is not the network that the teacher copied: {names}")
        floats = [name for name, value in mine.items() if value.is_floating_point()]
        for name in mine.keys() - set(floats):
            mine[name].copy_(theirs[name])
        if floats:
            goals = [theirs[name].float() for name in floats]
            torch._foreach_lerp_([mine[name] for name in floats], goals, 1 - kept)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, also the buffers that no state_dict holds."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
