"""The person of bench/adapt.py, the time they take, and which images they see."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from bench import adapt
from bench.adapt import Cell, compute, read_rows
from bench.adapt_data import Domain, draw_rings, read_sources, split, take
from bench.adapt_person import (
    Hand,
    Pace,
    correct,
    draw_stroke,
    iou,
    largest_part,
    trace,
)
from bench.adapt_show import draw_plot, to_table
from mal_core import checkpoint as checkpoints
from mal_core import coco
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Annotation, CategoryRecord, Dataset, ImageRecord
from mal_core.finetune_config import FinetuneConfig
from mal_core.masks import decode, encode

Mask = NDArray[np.bool_]


def blot(seed: int, side: int = 40) -> Mask:
    """Some smooth random shape."""
    noise = np.random.default_rng(seed).normal(size=(side, side))
    smooth: Mask = ndimage.gaussian_filter(noise, 4) > 0
    return smooth


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_stroke_changes_only_pixels_that_were_wrong(first: int, second: int) -> None:
    answer, truth = blot(first), blot(second)
    if (answer == truth).all():
        return
    pixels, adds = draw_stroke(answer, truth, longest=20, widest=3)
    changed = answer.copy()
    changed[pixels] = adds
    assert (changed != answer).any()
    assert (changed == truth)[changed != answer].all()


def test_a_stroke_goes_where_the_largest_error_is() -> None:
    truth = np.zeros((40, 40), np.bool_)
    truth[5:10, 5:10] = truth[20:30, 20:35] = True
    pixels, adds = draw_stroke(np.zeros_like(truth), truth, longest=50, widest=50)
    assert adds
    assert pixels[20:30, 20:35].any()
    assert not pixels[5:10, 5:10].any()


def test_a_stroke_takes_away_what_is_too_much() -> None:
    answer = np.zeros((20, 20), np.bool_)
    answer[4:9, 3:18] = True
    pixels, adds = draw_stroke(answer, np.zeros_like(answer), longest=50, widest=50)
    assert not adds
    assert iou(answer & ~pixels, np.zeros_like(answer)) == (1.0 if pixels[answer].all() else 0.0)
    assert pixels[answer].mean() > 0.8


def test_the_largest_part_counts_corners_as_connected() -> None:
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]], np.bool_)
    assert largest_part(mask).sum() == 3
    assert largest_part(np.zeros((3, 3), np.bool_)).sum() == 0


@pytest.mark.parametrize("longest", [4.0, 11.0, 100.0])
def test_a_stroke_runs_along_the_middle_from_one_end_and_no_further_than_the_hand(
    longest: float,
) -> None:
    bar = np.zeros((9, 40), np.bool_)
    bar[2:7, 3:33] = True
    path, radius = trace(bar, longest)
    columns = np.flatnonzero(path.any(0))
    assert (path & ~bar).sum() == 0
    assert radius == 3
    assert columns[-1] - columns[0] <= longest
    assert columns[-1] - columns[0] >= min(longest, 29) - 3
    assert path[4, columns[3:-3]].all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([0.6, 0.9, 0.99]))
def test_the_person_paints_until_it_is_good_enough_or_gives_up(
    first: int, second: int, goal: float
) -> None:
    answer, truth, hand = blot(first), blot(second), Hand(goal=goal, most=8)
    done = correct(answer, truth, 30.0, hand)
    assert iou(done.mask, truth) >= goal or done.strokes == 8
    assert iou(done.mask, truth) >= iou(answer, truth)
    assert ((done.mask != answer) == done.touched).all()
    before = correct(answer, truth, 30.0, Hand(goal=goal, most=max(0, done.strokes - 1)))
    assert done.strokes == 0 or iou(before.mask, truth) < goal


def test_a_good_proposal_needs_no_stroke() -> None:
    truth = blot(3)
    done = correct(truth, truth, 30.0, Hand())
    assert done.strokes == 0
    assert not done.touched.any()


def test_strokes_do_not_depend_on_where_the_object_lies() -> None:
    answer, truth = np.zeros((2, 90, 90), np.bool_)
    answer[10:50, 20:60], truth[10:50, 20:60] = blot(1), blot(2)
    moved = [np.roll(mask, (30, 15), (0, 1)) for mask in (answer, truth)]
    here, there = (correct(*pair, 30.0, Hand()) for pair in ((answer, truth), moved))
    assert here.strokes == there.strokes > 0
    assert (np.roll(here.mask, (30, 15), (0, 1)) == there.mask).all()


def test_worse_proposals_cost_more_strokes() -> None:
    truth = np.hypot(*(np.mgrid[:80, :80] - 40)) < 25
    counts = [
        correct(np.roll(truth, shift, 1), truth, 50.0, Hand()).strokes for shift in (0, 6, 14)
    ]
    assert counts == sorted(set(counts))


def test_seconds_are_those_of_the_box_of_each_stroke_and_of_each_look() -> None:
    pace = Pace(box=7, look=2, stroke=3)
    assert pace.seconds(0) == 9
    assert pace.seconds(4) == 9 + 4 * 5


def some_data(count: int, each: int) -> Dataset:
    square = np.zeros((50, 60), np.bool_)
    square[5:40, 5:40] = True
    rle = encode(square, height=50, width=60)
    images = [ImageRecord(n, f"{n}.png", 60, 50) for n in range(1, count + 1)]
    rows = [
        Annotation(n * each + k + 1, image.id, 1, (5, 5, 40, 40), rle)
        for n, image in enumerate(images)
        for k in range(each)
    ]
    return Dataset(images, [CategoryRecord(1, "square")], rows)


def test_no_image_is_in_two_parts_and_the_deal_is_always_the_same() -> None:
    data = some_data(20, 5)
    domain = split("some", data, Path(), (0.5, 0.2), 3, seen=False)
    parts = (domain.teach, domain.choose, domain.test)
    names = [{image.file_name for image in part.images} for part in parts]
    assert [len(n) for n in names] == [10, 4, 6]
    assert len(set.union(*names)) == 20
    for part, mine in zip(parts, names, strict=True):
        files = {image.id: image.file_name for image in part.images}
        assert {files[a.image_id] for a in part.annotations} == mine
        assert len(part.annotations) == 3 * len(part.images)
    assert split("some", data, Path(), (0.5, 0.2), 3, seen=False) == domain
    assert split("else", data, Path(), (0.5, 0.2), 3, seen=False).test != domain.test


def test_more_corrections_hold_the_fewer_ones() -> None:
    data = some_data(6, 2)
    few, many = take(data, 5), take(data, 9)
    assert len(few.annotations) == 5
    assert many.annotations[:5] == few.annotations
    assert {a.image_id for a in few.annotations} == {image.id for image in few.images}


def test_sources_are_joined_under_names_that_start_at_the_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        coco.save(some_data(2, 2), tmp_path / name / "annotations.json")
    data = read_sources(tmp_path, ["one", "two"])
    assert len({a.id for a in data.annotations}) == 8
    wanted = ["one/images/1.png", "one/images/2.png", "two/images/1.png", "two/images/2.png"]
    assert [image.file_name for image in data.images] == wanted


def test_small_masks_are_left_out_and_the_others_numbered_on(tmp_path: Path) -> None:
    data = some_data(3, 3)
    speck = encode(np.ones((2, 2), np.bool_), height=50, width=60)
    rows = [replace(a, rle=speck) if a.id % 3 == 1 else a for a in data.annotations]
    (tmp_path / "one").mkdir()
    coco.save(replace(data, annotations=rows), tmp_path / "one" / "annotations.json")
    kept = read_sources(tmp_path, ["one"]).annotations
    assert [a.id for a in kept] == [1, 2, 3, 4, 5, 6]
    assert [a.image_id for a in kept] == [1, 1, 2, 2, 3, 3]


def test_drawn_rings_are_the_same_each_time_and_have_holes(tmp_path: Path) -> None:
    data = draw_rings(tmp_path, 3, seed=5)
    again = draw_rings(tmp_path / "again", 3, seed=5)
    assert data == again
    for record, annotations in data.by_image():
        path = tmp_path / record.file_name
        assert path.read_bytes() == (tmp_path / "again" / record.file_name).read_bytes()
        assert len(annotations) == 2
        first, second = (decode(a.rle) for a in annotations if a.rle is not None)
        assert not (first & second).any()
        assert all(ndimage.label(~ring)[1] == 2 for ring in (first, second))


@pytest.mark.slow
def test_a_bench_that_was_stopped_computes_only_what_is_missing(
    tmp_path: Path, tiny: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, out = tmp_path / "tiny.safetensors", tmp_path / "drawn-cells"
    checkpoints.save(tiny.model, weights, tiny.metadata)
    drawn = draw_rings(tmp_path / "drawn", 6, seed=1)
    domain: Domain = split("drawn", drawn, tmp_path / "drawn", (0.5, 0.2), 2, seen=False)
    monkeypatch.setattr(adapt, "FinetuneConfig", lambda seed: FinetuneConfig(epochs=1, seed=seed))
    plan = [Cell("masks", 0), Cell("masks", 4), Cell("boxes", 4), Cell("random", 4)]
    for cell in plan[:2]:
        compute(domain, cell, weights, out)
    row = read_rows(tmp_path)[0]
    assert (row["count"], row["n"], len(row["ious"])) == (0, 4, 4)
    (out / "masks-004-0.json").write_text(json.dumps({**row, "count": 4, "iou": 0.123}))
    for cell in plan:
        compute(domain, cell, weights, out)
    rows = read_rows(tmp_path)
    assert [r["kind"] for r in rows] == ["boxes", "masks", "masks", "random"]
    assert rows[2]["iou"] == 0.123
    assert {path.name for path in out.glob("*.safetensors*")} == {"random.safetensors"}
    table = to_table(rows)
    assert len(table.splitlines()) == 2 + len(rows)
    assert "| 0.123 |" in table
    draw_plot(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
