"""A stroke steers the answer; the person always wins, and what they did elsewhere stays."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from mal_core.checkpoint import Checkpoint
from mal_core.config import CropConfig, ModelConfig
from mal_core.geometry import Box, Image
from mal_core.masks import RLE, decode, encode, iou
from mal_core.model import MAL
from mal_core.predictor import Predictor
from mal_core.prompts import Stroke
from mal_core.refine import RefineConfig
from mal_core.strokes import REACH, change_where_pointed, spread

RED: Box = (50.0, 50.0, 170.0, 190.0)
YELLOW: Box = (250.0, 130.0, 320.0, 240.0)
Mask = NDArray[np.bool_]


@pytest.fixture(params=["studio", "paper", "refined"])
def predictor_of(request: pytest.FixtureRequest, tiny: Checkpoint) -> Predictor:
    """Of both designs, and with refined edges; none has learnt anything."""
    refine = RefineConfig(method="guided" if request.param == "refined" else "none", min_side=0)
    if request.param != "paper":
        return Predictor(tiny, torch.device("cpu"), refine)
    config = ModelConfig(design="paper", backbone="vit_mini_patch16_224", crop_size=64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MAL(config).eval()
    checkpoint = Checkpoint(model, CropConfig.of(config), 0.5, "0" * 64)
    return Predictor(checkpoint, torch.device("cpu"), refine)


@pytest.fixture
def small(tiny: Checkpoint) -> Predictor:
    return Predictor(tiny, torch.device("cpu"), RefineConfig(method="none"))


def covered(stroke: Stroke, height: int = 240, width: int = 320) -> Mask:
    """Pixels whose centre is within the radius of any of many points on the stroke's pieces."""
    ys, xs = np.mgrid[:height, :width] + 0.5
    hit = np.zeros((height, width), np.bool_)
    points = np.array(stroke.points, float)
    for a, b in zip([points[0], *points[:-1]], points, strict=True):
        length = float(((b - a) ** 2).sum()) or 1.0
        t = np.clip(((xs - a[0]) * (b - a)[0] + (ys - a[1]) * (b - a)[1]) / length, 0, 1)
        hit |= np.hypot(xs - a[0] - t * (b - a)[0], ys - a[1] - t * (b - a)[1]) <= stroke.radius
    return hit


def random_strokes(random: np.random.Generator) -> list[Stroke]:
    """One to five, of both kinds, in and out of the box and of the image."""
    return [
        Stroke(
            [tuple(map(float, p)) for p in random.uniform((-9, -9), (330, 250), (count, 2))],
            float(random.uniform(0.4, 25)),
            adds=bool(random.random() < 0.5),
        )
        for count in random.integers(1, 4, random.integers(1, 6))
    ]


def disc(y: int, x: int, radius: int) -> RLE:
    down, across = np.mgrid[:240, :320]
    return encode(np.hypot(down - y, across - x) < radius, height=240, width=320)


@pytest.mark.parametrize("seed", range(6))
def test_what_a_stroke_says_of_a_pixel_is_so(
    predictor_of: Predictor, scene: Image, seed: int
) -> None:
    random = np.random.default_rng(seed)
    strokes = [random_strokes(random), random_strokes(random)]
    current = [None, disc(120, 200, 60)] if seed % 2 else None
    masks = predictor_of.predict(scene, [RED, YELLOW], strokes, current).masks()
    for made, rle in zip(strokes, masks, strict=True):
        said = np.zeros((240, 320), np.int8)
        for stroke in made:
            said[covered(stroke)] = 1 if stroke.adds else -1
        mask = decode(rle)
        assert mask[said > 0].all()
        assert not mask[said < 0].any()


def test_without_strokes_a_current_mask_changes_nothing(small: Predictor, scene: Image) -> None:
    plain = small.predict(scene, [RED, YELLOW])
    told = small.predict(scene, [RED, YELLOW], [[], []], [disc(120, 100, 30), None])
    assert told.masks() == plain.masks()
    assert told.rects == plain.rects
    assert torch.equal(told.probs, plain.probs)


@pytest.mark.parametrize("threshold", [0.0, 1.0], ids=["everything", "nothing"])
def test_a_mask_in_hand_changes_only_where_a_stroke_points(
    predictor_of: Predictor, scene: Image, threshold: float
) -> None:
    drawn = decode(disc(120, 100, 60)).copy()
    drawn[100:105, 120:125], drawn[180:188, 160:168] = False, True  # a hole and a speck, by hand
    hand = encode(drawn, height=240, width=320)
    strokes = [Stroke([(110.0, 175.0), (120.0, 170.0)], 6, adds=True)]
    strokes.append(Stroke([(70.0, 120.0)], 5, adds=False))
    prediction = predictor_of.predict(scene, [RED], [strokes], [hand])
    before, after = decode(hand), decode(prediction.masks(threshold)[0])
    pointed = ndimage.binary_dilation(  # a stroke may cut a change in two
        covered(strokes[0]) | covered(strokes[1]), np.ones((3, 3))
    )
    assert not (before ^ after)[100:105, 120:125].any()
    assert not (before ^ after)[180:188, 160:168].any()
    labels, count = ndimage.label(before ^ after, np.ones((3, 3)))
    assert count
    assert all(pointed[labels == label].any() for label in range(1, count + 1))


def test_what_was_painted_outside_the_box_stays(small: Predictor, scene: Image) -> None:
    hand = np.zeros((240, 320), np.bool_)
    hand[60:180, 60:160], hand[10:20, 280:300] = True, True
    stroke = Stroke([(110.0, 100.0)], 5, adds=False)
    rle = encode(hand, height=240, width=320)
    after = decode(small.predict(scene, [RED], [[stroke]], [rle]).masks()[0])
    assert after[10:20, 280:300].all()


def test_a_mask_in_hand_is_the_prompt_and_the_network_runs_once(
    small: Predictor, scene: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    run = small._run

    def record(images: Tensor, planes: Tensor, areas: Tensor) -> Tensor:
        seen.append(planes)
        return run(images, planes, areas)

    monkeypatch.setattr(small, "_run", record)
    stroke = [Stroke([(110.0, 100.0)], 5, adds=False)]
    small.predict(scene, [RED, YELLOW], [stroke, []], [disc(120, 110, 60), None])
    assert [len(planes) for planes in seen] == [1, 1]  # YELLOW plain, RED with its prompts
    previous = seen[1][0, 1]
    assert float(previous[32, 32]) == pytest.approx(1, abs=1e-3)
    assert float(previous[2, 2]) == pytest.approx(-1, abs=1e-3)
    assert seen[1][0, 3].any()
    assert not seen[1][0, 2].any()


@pytest.mark.parametrize(
    ("current", "message"),
    [
        pytest.param([None], "current masks must be one a box: 1 for 2", id="too-few"),
        pytest.param(
            [None, encode(np.ones((9, 9), np.bool_), height=9, width=9)], "image's size", id="size"
        ),
    ],
)
def test_current_masks_must_fit(
    small: Predictor, scene: Image, current: Sequence[RLE | None], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        small.predict(scene, [RED, YELLOW], None, current)


def two_colours() -> tuple[Tensor, Tensor, Tensor]:
    """A bright square of 60 cells on a dark ground, and an answer that misses its right third."""
    truth = torch.zeros(128, 128)
    truth[34:94, 34:94] = 1
    noise = 0.02 * torch.randn(3, 256, 256, generator=torch.Generator().manual_seed(0))
    picture = 2 * truth.repeat_interleave(2, 0).repeat_interleave(2, 1) - 1 + noise
    probs = 0.05 + 0.9 * truth
    probs[:, 80:] = 0.05
    return picture, probs, truth


def test_a_stroke_brings_the_region_of_its_colour_back() -> None:
    picture, probs, truth = two_colours()
    strokes = torch.zeros(2, 256, 256)
    strokes[0, 80:176, 172:176] = 1  # a thin line down the missing third
    after = (spread(picture, probs, strokes) > 0.5).float()
    missing = [float((truth * (1 - mask)).sum()) for mask in ((probs > 0.5).float(), after)]
    assert missing[1] < 0.25 * missing[0]
    assert float((after * (1 - truth)).sum()) == 0  # it does not leave its colour


@pytest.mark.parametrize("kind", [0, 1], ids=["adds", "erases"])
def test_far_from_a_stroke_an_answer_without_prompts_stays(kind: int) -> None:
    picture, probs, _ = two_colours()
    strokes = torch.zeros(2, 256, 256)
    strokes[kind, 100:110, 100:110] = 1
    after = spread(picture, probs, strokes)
    near = torch.zeros(128, 128, dtype=torch.bool)
    near[50 - REACH : 55 + REACH, 50 - REACH : 55 + REACH] = True
    assert torch.equal(after[~near], probs[~near])
    assert bool((after[50:55, 50:55] == 1 - kind).all()) or not kind


def test_only_changes_that_a_stroke_touches_are_kept() -> None:
    current = np.zeros((20, 30), np.bool_)
    current[5:15, 5:15] = True
    new = current.copy()
    new[0:3, 0:3] = True  # nobody asked for this
    new[5:15, 15:25] = True  # this grows from what the stroke touches
    new[10, 10] = False  # nor for this
    stroke = Stroke([(124.5, 210.0)], 2.0, adds=True)
    kept = change_where_pointed(new, current, (100, 200), [stroke])
    expected = current.copy()
    expected[5:15, 15:25] = True
    assert np.array_equal(kept, expected)
    assert np.array_equal(change_where_pointed(new, current, (100, 200), []), current)


def test_a_stroke_knows_what_it_covers() -> None:
    assert Stroke([(3.0, 9.0), (1.0, 20.0)], 2.0, adds=True).box == (-1.0, 7.0, 5.0, 22.0)


def test_one_stroke_on_real_weights_mends_more_than_itself(
    predictor: Predictor, scene: Image
) -> None:
    down, across = np.mgrid[:240, :320]
    truth = ((down - 120) / 70) ** 2 + ((across - 110) / 60) ** 2 <= 1
    half = encode(truth & (across < 110), height=240, width=320)
    stroke = Stroke([(140.0, 100.0), (140.0, 140.0)], 6, adds=True)
    mended = predictor.predict(scene, [RED], [[stroke]], [half]).masks()[0]
    whole = encode(truth, height=240, width=320)
    brushed = encode(decode(half) | covered(stroke), height=240, width=320)
    assert iou(brushed, whole) < 0.65
    assert iou(mended, whole) > 0.9
    assert math.isclose(iou(half, whole), 0.5, abs_tol=0.02)
