"""The mean field equals the published update, written out pixel by pixel, and finds edges."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mal_core import crf
from mal_core.config import CRFConfig
from mal_core.crf import Pairs, mean_field, pairwise_kernel, teaches

Maps = tuple[Tensor, Tensor, Tensor, Tensor]


def noisy_maps(seed: int, count: int = 1, height: int = 6, width: int = 7) -> Maps:
    """Colours about as far apart as zeta, a random start, a box with a margin, a ragged edge."""
    source = torch.Generator().manual_seed(seed)
    image = 0.1 * torch.randn(count, 3, height, width, generator=source)
    probs = torch.rand(count, height, width, generator=source)
    box = torch.zeros(count, height, width)
    box[:, 1:, 1:-1] = 1
    valid = (torch.rand(count, height, width, generator=source) > 0.15).float()
    return image, probs, box, valid


def weight_of(maps: Maps, config: CRFConfig, i: tuple[int, int], j: tuple[int, int]) -> float:
    """The weight of pixel j for pixel i of the first item."""
    if i == j:
        return 1.0
    image, valid = maps[0][0], maps[3][0]
    gap = sum((float(image[c][i]) - float(image[c][j])) ** 2 for c in range(3))
    return math.exp(-gap / (2 * config.zeta**2)) * float(valid[i]) * float(valid[j])


def direct_form(maps: Maps, config: CRFConfig, known: Tensor | None = None) -> list[list[bool]]:
    """The update as published, in energies of both labels; see mal_core.crf for outside the box."""
    settled = torch.zeros_like(maps[1][0]) if known is None else known[0]
    probs, box, valid = (x[0] for x in maps[1:])
    low, high, step = config.floor, 1 - config.floor, config.dilation
    height, width = probs.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    inside = {i: bool(box[i]) and bool(valid[i]) for i in places}
    held = {i: {1: high, -1: low}.get(int(settled[i])) if inside[i] else low for i in places}
    p = {i: min(max(float(probs[i]), low), high) for i in places}
    p |= {i: value for i, value in held.items() if value is not None}
    window = [(dy, dx) for dy in (-step, 0, step) for dx in (-step, 0, step)]
    for _ in range(config.iterations):
        after = {}
        for y, x in places:
            near = [(y + dy, x + dx) for dy, dx in window if (y + dy, x + dx) in p]
            weights = [weight_of(maps, config, (y, x), j) for j in near]
            one = sum(w * -math.log(p[j]) for w, j in zip(weights, near, strict=True))
            zero = sum(w * -math.log(1 - p[j]) for w, j in zip(weights, near, strict=True))
            free = 1 / (1 + math.exp(one - zero))
            after[y, x] = min(max(free, low), high)
        p = after | {i: value for i, value in held.items() if value is not None}
    return [[inside[y, x] and p[y, x] > 0.5 for x in range(width)] for y in range(height)]


def ellipse(size: int, grow: float = 1.0, shift: float = 0.0) -> Tensor:
    """(size, size) float in {0, 1}, in the middle or moved right by `shift` of the side."""
    place = (torch.arange(size) + 0.5) / size - 0.5
    y, x = place[:, None] / 0.33, (place[None] - shift) / 0.28
    return (y.square() + x.square() < grow**2).float()


def two_colours(size: int = 96) -> Maps:
    """An ellipse on another colour with a little noise; a start that is too large and moved."""
    mask = ellipse(size)
    image = (mask - 0.5) * torch.tensor([1.2, 0.4, -0.8]).view(1, 3, 1, 1)
    image = image + 0.02 * torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    start = 0.3 + 0.4 * ellipse(size, grow=1.02, shift=0.014)[None]
    box = torch.zeros(1, size, size)
    box[:, 14:-14, 18:-18] = 1
    return image, start, box, torch.ones(1, size, size)


def overlap(first: Tensor, second: Tensor) -> float:
    return float((first * second).sum() / torch.maximum(first, second).sum())


@pytest.mark.parametrize("iterations", [0, 1, 2, 7])
@pytest.mark.parametrize("dilation", [1, 2])
def test_log_odds_give_the_masks_of_the_direct_form(iterations: int, dilation: int) -> None:
    config = CRFConfig(iterations=iterations, dilation=dilation)
    for seed in range(8):
        maps = noisy_maps(seed)
        assert mean_field(*maps, config)[0].bool().tolist() == direct_form(maps, config)


@pytest.mark.parametrize("iterations", [0, 1, 7])
def test_settled_labels_stay_and_pull_their_neighbours(iterations: int) -> None:
    config = CRFConfig(iterations=iterations)
    for seed in range(8):
        maps = noisy_maps(seed)
        source = torch.Generator().manual_seed(seed)
        known = torch.randint(-1, 2, maps[1].shape, generator=source).float()
        mask = mean_field(*maps, config, known)[0]
        assert mask.bool().tolist() == direct_form(maps, config, known)
        inside = (maps[2] * maps[3])[0] > 0
        assert bool((mask[inside & (known[0] > 0)] == 1).all())
        assert bool((mask[known[0] < 0] == 0).all())


@pytest.mark.parametrize("floor", [0.02, 0.4])
def test_the_floor_bounds_what_a_neighbour_can_say(floor: float) -> None:
    config = CRFConfig(iterations=3, floor=floor)
    for seed in range(8):
        maps = noisy_maps(seed)
        assert mean_field(*maps, config)[0].bool().tolist() == direct_form(maps, config)


@pytest.mark.parametrize("dilation", [1, 2])
def test_the_kernel_holds_every_pair_once(dilation: int) -> None:
    config = CRFConfig(dilation=dilation)
    maps = noisy_maps(3)
    places = [(y, x) for y in range(6) for x in range(7)]
    number = {place: index for index, place in enumerate(places, start=1)}
    pairs = Pairs(6, 7, dilation)
    names = pairs.flatten(torch.arange(1, 43).view(1, 6, 7).float())
    found = {}
    for weight, (first, second) in zip(
        pairwise_kernel(maps[0], maps[3], config), pairs.ends(names), strict=True
    ):
        for w, a, b in zip(weight[0].tolist(), first[0].tolist(), second[0].tolist(), strict=True):
            if a and b:
                found[int(a), int(b)] = w
            else:
                assert w == 0
    reach = (-dilation, 0, dilation)
    expected = {
        (number[y, x], number[y + dy, x + dx]): weight_of(maps, config, (y, x), (y + dy, x + dx))
        for y, x in places
        for dy in reach
        for dx in reach
        if (dy, dx) > (0, 0) and (y + dy, x + dx) in number
    }
    assert {pair: w for pair, w in found.items() if w} == pytest.approx(
        {pair: w for pair, w in expected.items() if w}, rel=1e-4
    )


def test_a_two_colour_ellipse_is_recovered() -> None:
    image, start, box, valid = two_colours()
    truth = ellipse(96)
    before = overlap((start[0] > 0.5).float(), truth)
    after = overlap(mean_field(image, start, box, valid, CRFConfig())[0], truth)
    assert 0.91 < before < 0.95
    assert after > 0.95


def test_a_moved_scene_gives_the_moved_mask() -> None:
    image, start, box, valid = two_colours()
    moved = [torch.roll(x, (5, -3), (-2, -1)) for x in (image, start, box, valid)]
    there = mean_field(*moved, CRFConfig())
    here = mean_field(image, start, box, valid, CRFConfig())
    assert torch.equal(torch.roll(here, (5, -3), (-2, -1)), there)


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)], ids=str)
def test_a_mirrored_scene_gives_the_mirrored_mask(axes: tuple[int, ...]) -> None:
    maps = noisy_maps(1, count=3, height=16, width=12)
    mirrored = [torch.flip(x, axes) for x in maps]
    here, there = mean_field(*maps, CRFConfig()), mean_field(*mirrored, CRFConfig())
    assert torch.equal(torch.flip(here, axes), there)


def test_items_of_a_batch_do_not_touch_each_other() -> None:
    quick, slow = two_colours(48), noisy_maps(5, height=48, width=48)
    both: Maps = tuple(torch.cat(pair) for pair in zip(quick, slow, strict=True))  # type: ignore[assignment]
    config = CRFConfig(iterations=60)
    apart = torch.cat([mean_field(*quick, config), mean_field(*slow, config)])
    assert torch.equal(mean_field(*both, config), apart)


def test_updates_end_when_the_mask_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    sums: list[int] = []  # 8 an update, one for each neighbour
    add = torch.Tensor.addcmul_
    monkeypatch.setattr(torch.Tensor, "addcmul_", lambda *x: sums.append(1) or add(*x))
    rested = mean_field(*two_colours(), CRFConfig(iterations=1000))
    assert 0 < len(sums) / 8 < 100
    assert len(sums) / 8 % crf.LOOK_EVERY == 0
    monkeypatch.setattr(crf, "LOOK_EVERY", 1000)
    assert torch.equal(rested, mean_field(*two_colours(), CRFConfig(iterations=1000)))


@pytest.mark.parametrize("dilation", [1, 2])
def test_what_no_pixel_of_a_box_touches_is_not_even_read(dilation: int) -> None:
    config = CRFConfig(dilation=dilation)
    image, start, box, valid = two_colours()
    near = torch.nn.functional.max_pool2d(box, 2 * dilation + 1, stride=1, padding=dilation) > 0
    odd = image.masked_fill(~near, torch.nan)
    assert torch.equal(
        mean_field(odd, start, box, valid, config), mean_field(image, start, box, valid, config)
    )


def test_an_empty_box_has_an_empty_mask() -> None:
    image, start, box, valid = two_colours(16)
    assert not mean_field(image, start, torch.zeros_like(box), valid, CRFConfig()).any()


def test_nothing_outside_the_box_or_the_image_is_ever_foreground() -> None:
    image, probs, box, valid = noisy_maps(0, count=4)
    mask = mean_field(torch.zeros_like(image), torch.ones_like(probs), box, valid, CRFConfig())
    assert mask.sum() > 0
    assert (mask * (1 - box * valid)).sum() == 0


def test_invalid_pixels_pull_no_neighbour() -> None:
    image, probs, box, _ = noisy_maps(0)
    valid = torch.ones_like(box)
    valid[:, :, 3] = 0
    base = mean_field(image, probs, box, valid, CRFConfig())
    image[:, :, :, 3], probs[:, :, 3] = 50, 1
    assert torch.equal(mean_field(image, probs, box, valid, CRFConfig()), base)
    probs[0, :, 4:] = 1 - probs[0, :, 4:]  # nor does anything reach across them
    assert torch.equal(mean_field(image, probs, box, valid, CRFConfig())[..., :3], base[..., :3])


def test_the_answer_is_float32_without_gradient_whatever_comes_in() -> None:
    image, probs, box, valid = two_colours(48)
    config = CRFConfig()
    full = mean_field(image, probs, box, valid, config)
    probs.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mask = mean_field(image, probs, box, valid, config)
    assert mask.dtype is torch.float32
    assert not mask.requires_grad
    assert torch.equal(mask, full)
    assert mean_field(image.bfloat16(), probs, box.bool(), valid, config).dtype is torch.float32


def test_nothing_given_is_changed() -> None:
    maps = noisy_maps(0)
    copies = [x.clone() for x in maps]
    mean_field(*maps, CRFConfig())
    assert all(torch.equal(x, y) for x, y in zip(maps, copies, strict=True))


@pytest.mark.parametrize("which", range(4))
def test_maps_of_other_shapes_are_refused(which: int) -> None:
    maps = list(noisy_maps(0))
    maps[which] = maps[which][..., :-1]
    with pytest.raises(ValueError, match=r"must agree in \(B, h, w\)"):
        mean_field(*maps, CRFConfig())


def test_settled_labels_must_be_of_the_same_shape() -> None:
    with pytest.raises(ValueError, match=r"must agree in \(B, h, w\)"):
        mean_field(*noisy_maps(0), CRFConfig(), torch.zeros(1, 6, 6))


@pytest.mark.parametrize(
    ("filled", "expected"),
    [(0, False), (4, False), (5, True), (50, True), (95, True), (96, False), (100, False)],
)
def test_a_mask_teaches_from_5_to_95_percent_of_its_box(filled: int, expected: bool) -> None:
    box = torch.zeros(1, 12, 12)
    box[:, :10, :10] = 1
    mask = torch.zeros(1, 12, 12)
    mask[:, :10, :10] = (torch.arange(100).view(10, 10) < filled).float()
    assert teaches(mask, box, CRFConfig()).tolist() == [expected]


def test_the_bounds_of_the_filter_are_settings() -> None:
    box = torch.ones(3, 4, 4)
    mask = torch.zeros(3, 4, 4)
    mask[1, :2], mask[2, :3] = 1, 1
    config = replace(CRFConfig(), min_fill=0.5, max_fill=0.7)
    assert teaches(mask, box, config).tolist() == [False, True, False]
    assert teaches(mask, box * 0, replace(config, min_fill=0)).tolist() == [False] * 3
