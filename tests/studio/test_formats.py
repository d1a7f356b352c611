"""Each format times each hard case: out of a project, into another one, and back into its own."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from app.exchange import FORMATS
from app.records import Draft, NewInstance, Project, State
from mal_core.masks import RLE, decode, encode, iou
from tests.studio.trade import CASES, HEIGHT, NOW, WIDTH, Case, Trade, disc

OVERLAY = ("coco-panoptic", "voc", "png", "png-semantic")


@pytest.fixture(scope="module")
def trade(tmp_path_factory: pytest.TempPathFactory, shared_database: str) -> Iterator[Trade]:
    opened = Trade(tmp_path_factory.mktemp("trade"), shared_database)
    yield opened
    opened.store.close()


def painted(case: Case, name: str) -> list[tuple[str, RLE]]:
    """What a picture in which each pixel has one owner shows, by brute force."""
    order = sorted(range(len(case.masks)), key=lambda k: -int(case.masks[k][1].sum()))
    owner = np.full((HEIGHT, WIDTH), -1)
    for place in order:
        owner[case.masks[place][1]] = place
    shown = [owner == place for place in range(len(case.masks))]
    if name == "png-semantic":
        titles = list(dict.fromkeys(title for title, _ in case.masks))
        regions = {
            title: sum(p for (t, _), p in zip(case.masks, shown, strict=True) if t == title) > 0
            for title in titles
        }
        return [(title, encode(p, height=HEIGHT, width=WIDTH)) for title, p in regions.items()]
    return [
        (title, encode(pixels, height=HEIGHT, width=WIDTH))
        for (title, _), pixels in zip(case.masks, shown, strict=True)
    ]


def wanted(case: Case, name: str) -> list[tuple[str, RLE]]:
    if name in OVERLAY:
        return painted(case, name)
    return [(title, encode(pixels, height=HEIGHT, width=WIDTH)) for title, pixels in case.masks]


@pytest.mark.parametrize("title", CASES)
@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_can_hold_comes_back_pixel_for_pixel(
    trade: Trade, name: str, title: str
) -> None:
    case = CASES[title]
    project, twin = trade.project(title), trade.project(f"{title} again")
    image = trade.image(project, case.file_name)
    trade.image(twin, case.file_name)
    trade.fill(project, image, case)
    report = trade.export(project, name)

    first = trade.bring(twin, name, report.path)
    found = trade.drafts(twin)
    expected = wanted(case, name)
    if name == "yolo":
        assert first.n_boxes == len(found) == len(expected)
        boxes = [(category, tuple(map(float, rle.box or ()))) for category, rle in expected]
        assert [(category, draft.box) for _, category, draft in found] == boxes
    else:
        masks = [(category, draft.rle) for _, category, draft in found if draft.rle is not None]
        assert sorted(masks, key=str) == sorted(
            [item for item in expected if item not in beyond(name, expected)], key=str
        )

    before = trade.drafts(project)
    again = trade.bring(project, name, report.path)
    assert (again.n_masks, again.n_boxes, again.n_filled) == (0, 0, 0)
    assert trade.drafts(project) == before
    report.path.unlink()


def beyond(name: str, expected: list[tuple[str, RLE]]) -> list[tuple[str, RLE]]:
    """What VOC's palette has no value for."""
    return expected[254:] if name == "voc" else []


@pytest.fixture(scope="module")
def n_images(scale: Callable[[int, int], int]) -> int:
    """Of the crowd: 1,000 instances, or 10,000."""
    return scale(4, 40)


@pytest.fixture(scope="module")
def crowd(trade: Trade, n_images: int) -> Project:
    """250 small instances on each image: cut corners, and a hole in each tenth."""
    project, chance = trade.project("Crowd"), np.random.default_rng(0)
    titles = [trade.store.add_category(project.id, f"kind {k}").id for k in range(5)]
    with trade.store.transaction():
        for place in range(n_images):
            image = trade.image(project, f"{place:02d}.jpg", (200, 80))
            drafts = []
            for k in range(250):
                pixels = np.ones(tuple(chance.integers(4, 8, 2)), np.bool_)
                pixels[: k % 3, : k % 2] = False
                pixels[2, 2] = k % 10 > 0
                y, x = divmod(k, 25)
                rle = encode(pixels, x0=8 * x, y0=8 * y, height=80, width=200)
                drafts.append(Draft(State.ACCEPTED, titles[k % 5], (0.0, 0.0, 200.0, 80.0), rle))
            new = [NewInstance(image.id, draft) for draft in drafts]
            trade.store.add_instances(new, "me", "", NOW)
    return project


@pytest.mark.soak
@pytest.mark.parametrize("name", FORMATS)
def test_thousands_of_instances_come_back_pixel_for_pixel(
    trade: Trade, crowd: Project, n_images: int, name: str
) -> None:
    report = trade.export(crowd, name)
    count = (5 if name == "png-semantic" else 250) * n_images
    assert report.n_annotations == 250 * n_images
    assert (report.n_compared, report.n_exact) == (count, count)
    report.path.unlink()


CLASHING = ("a.jpg", "a.png", "A.JPG", "sub/a.jpg", ".b.jpg", "sub/.c/d.jpg", "images/masks/e.jpg")


@pytest.mark.parametrize("include_images", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_names_that_would_clash_or_hide_are_changed_and_known_again(
    trade: Trade, name: str, include_images: bool
) -> None:
    project = trade.project("Names")
    for place, file_name in enumerate(CLASHING):
        masks = [("leaf", disc(8 + 4 * place, 15, 5))]
        trade.fill(project, trade.image(project, file_name), Case(masks))
    report = trade.export(project, name, include_images=include_images)
    assert report.n_exact == len(CLASHING)
    assert report.renamed[".b.jpg (image 5)"].startswith("_b.jpg")
    again = trade.bring(project, name, report.path, dry_run=True)
    assert (again.n_images, again.n_known) == (len(CLASHING), len(CLASHING))
    assert (again.n_new_images, again.unmatched, again.problems) == (0, [], [])
    report.path.unlink()


@pytest.mark.parametrize("name", FORMATS)
def test_the_report_states_the_smallest_iou_of_the_round_trip(trade: Trade, name: str) -> None:
    case = CASES["overlaps"]
    project = trade.project()
    trade.fill(project, trade.image(project, case.file_name), case)
    report = trade.export(project, name)
    truth = wanted(case, "coco")
    if name == "png-semantic":
        whole = decode(truth[0][1]) | decode(truth[1][1])
        truth = [("leaf", encode(whole, height=HEIGHT, width=WIDTH)), truth[2]]
    pairs = zip(truth, wanted(case, name), strict=True)
    values = [iou(before, after) for (_, before), (_, after) in pairs]
    assert report.min_iou == pytest.approx(min(values))
    assert report.mean_iou == pytest.approx(sum(values) / len(values))
    assert len(report.changed) == sum(value < 1 for value in values)
    assert (min(values) < 1) == (name in OVERLAY)
