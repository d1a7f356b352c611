"""How long does the mean field of one crop take? Against the unfold form, in one interleaved run.

    python bench/mean_field.py [--size 256] [--runs 9]

The unfold form is the update as it is usually written: both labels' energies over a 3x3 window of
unfolded copies, the kernel from 27 unfolded colour channels. It does all 20 updates; ours is
timed with its early stop and without. Times are of the thread's own CPU, so that neighbours on
the machine count less. The picture is a noisy ellipse, the start a shifted one.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mal_core import crf  # noqa: E402
from mal_core.config import CRFConfig  # noqa: E402
from mal_core.crf import mean_field  # noqa: E402


def main() -> None:
    """Print medians, how many times the unfold form's speed, and whether the masks differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="side of the crop, pixels")
    parser.add_argument("--runs", type=int, default=9, help="runs of each, alternating")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    inputs = scene(arguments.size)
    config = CRFConfig()
    forms: dict[str, Callable[..., Tensor]] = {
        "ours": mean_field,
        "ours without stop": all_updates,
        "unfold": unfold_form,
    }
    masks = {name: form(*inputs, config=config) for name, form in forms.items()}  # also warms up
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(arguments.runs):
        for name, form in forms.items():
            begin = time.thread_time()
            form(*inputs, config=config)
            seconds[name].append(time.thread_time() - begin)
    slow = statistics.median(seconds["unfold"])
    print(f"{arguments.size} px, 1 thread, {config.iterations} updates")
    for name, values in seconds.items():
        middle, differ = statistics.median(values), int((masks[name] != masks["unfold"]).sum())
        print(f"{name}: {1000 * middle:.1f} ms, {slow / middle:.1f}x", end=", ")
        print(f"{differ} pixels differ from the unfold form's")


def all_updates(*inputs: Tensor, config: CRFConfig) -> Tensor:
    """Ours, but it never looks whether the masks still change."""
    usual, crf.LOOK_EVERY = crf.LOOK_EVERY, config.iterations
    try:
        return mean_field(*inputs, config)
    finally:
        crf.LOOK_EVERY = usual


def scene(size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """An ellipse on another colour with noise; a start that is shifted and soft; box; valid."""
    down, across = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    y, x = (down + 0.5) / size - 0.5, (across + 0.5) / size - 0.5
    ellipse = ((y / 0.35) ** 2 + (x / 0.3) ** 2 < 1).float()
    noise = 0.03 * torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    image = (ellipse - 0.5) * torch.tensor([1.0, 0.6, -0.8]).view(1, 3, 1, 1) + noise
    start = torch.sigmoid(40 * (1 - ((y / 0.35) ** 2 + ((x - 0.03) / 0.3) ** 2)))[None]
    box = ((y.abs() < 0.36) & (x.abs() < 0.36)).float()[None]
    return image, start, box, torch.ones_like(box)


@torch.no_grad()
def unfold_form(
    image: Tensor, probs: Tensor, box: Tensor, valid: Tensor, config: CRFConfig
) -> Tensor:
    """The direct form of the update on unfolded windows; the same arguments and answer."""
    size, d = image.shape[-2:], config.dilation

    def windows(maps: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C, 9, h * w)
        return F.unfold(maps, 3, padding=d, dilation=d).unflatten(1, (maps.shape[1], 9))

    colours, exists = windows(image), windows(valid[:, None])[:, 0]
    difference = (colours - colours[:, :, 4:5]).square().sum(1)  # (B, 9, h * w)
    weight = torch.exp(-difference / (2 * config.zeta**2)) * exists * exists[:, 4:5]
    weight[:, 4] = 1
    inside = box * valid
    low, high = config.floor, 1 - config.floor
    p = (probs * inside).clamp(low, high)
    for _ in range(config.iterations):
        around = windows(p[:, None])[:, 0].clamp(low, high)
        for_one = (weight * -torch.log(around)).sum(1)
        for_zero = (weight * -torch.log(1 - around)).sum(1)
        p = torch.sigmoid(for_zero - for_one).unflatten(1, size).clamp(low, high)
        p = torch.where(inside > 0.5, p, low)
    return (p > 0.5).float() * inside


if __name__ == "__main__":
    main()
