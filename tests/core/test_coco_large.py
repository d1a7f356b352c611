"""A COCO file read image by image is what it is when read at once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mal_core import coco, coco_large
from mal_core.coco_large import LargeFile
from mal_core.errors import BadDataset
from mal_core.masks import encode

NAMES = st.text('ab/\\"{}[],: \n\u00e9', min_size=1, max_size=5).filter(
    lambda text: text.strip() != "" and "\\" not in text and text.isprintable()
)
SPACES = st.sampled_from([None, 1])


def document(n_images: int, owners: list[int], note: str) -> dict[str, Any]:
    masks = [
        encode(np.random.default_rng(n).random((5, 6)) < 0.5, height=5, width=6).to_coco()
        for n in range(len(owners))
    ]
    annotations = [
        {"id": n + 7, "image_id": owner, "category_id": 3, "bbox": [0, 0, n + 1, 2], "note": note}
        | ({"segmentation": mask, "kept": [[{}], "]"]} if n % 3 else {})
        for n, (owner, mask) in enumerate(zip(owners, masks, strict=True))
    ]
    images = [
        {"id": n, "file_name": f"{n}.jpg", "width": 6, "height": 5, "x": note}
        for n in range(n_images)
    ]
    return {
        "info": {"lists": [1, [2]], "said": note},
        "annotations": annotations,
        "licenses": [{"name": note}],
        "categories": [{"id": 3, "name": "leaf", "extra": {"a": []}}],
        "images": images,
    }


def read_large(path: Path) -> tuple[Any, ...]:
    file = LargeFile(path)
    return file.images, file.categories, file.extra, list(file.by_image())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.data(),
    note=NAMES | st.sampled_from(['\\"', "\\", '"\\\\"', "ends in \\"]),
    indent=SPACES,
    sizes=st.sampled_from([(1, 1), (7, 2), (64, 3), (2**20, 2000)]),
)
def test_it_holds_the_same_in_the_same_order(
    tmp_path: Path, data: st.DataObject, note: str, indent: int | None, sizes: tuple[int, int]
) -> None:
    n_images = data.draw(st.integers(1, 4))
    owners = data.draw(st.lists(st.integers(0, n_images - 1), max_size=12))
    path = tmp_path / "file.json"
    path.write_text(json.dumps(document(n_images, owners, note), indent=indent))
    whole = coco.read(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_large, "_CHUNK", sizes[0])
        patch.setattr(coco_large, "_BATCH", sizes[1])
        found = read_large(path)
    assert found == (whole.images, whole.categories, whole.extra, whole.by_image())


BAD: dict[str, tuple[str, str]] = {
    "an image that is not there": ('"image_id": 1', '"image_id": 9'),
    "an image that is no number": ('"image_id": 1', '"image_id": "1"'),
    "an id twice": ('"id": 8', '"id": 7'),
    "a box without extent": ('"bbox": [0, 0, 2, 2]', '"bbox": [0, 0, 0, 2]'),
    "a mask of another size": ('"size": [5, 6]', '"size": [6, 5]'),
    "an image without a height": ('"width": 6, "height": 5', '"width": 6'),
    "no categories": ('"categories"', '"kinds"'),
    "a list of images that is none": ('"images": [', '"pictures": ['),
}


@pytest.mark.parametrize(("old", "new"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("batch", [1, 2000])
def test_it_has_the_same_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, batch: int
) -> None:
    text = json.dumps(document(3, [0, 1, 1, 2], "x"))
    assert old in text
    path = tmp_path / "bad.json"
    path.write_text(text.replace(old, new))
    monkeypatch.setattr(coco_large, "_BATCH", batch)
    problems = []
    for read in (coco.read, read_large):
        with pytest.raises(BadDataset) as caught:
            read(path)
        problems.append(sorted(caught.value.problems))
    assert problems[0] == problems[1]


ODD = {
    "a number among annotations": ('"annotations": [', '"annotations": [7, '),
    "a number at their end": ('], "licenses"', ', 7], "licenses"'),
    "two commas": ('}, {"id": 8', '}, , {"id": 8'),
    "a bracket that closes nothing": ('"annotations": [', '"annotations": ]['),
    "another kind of bracket": ('], "licenses"', '}, "licenses"'),
    "an open text": ('"said": "x"', '"said": "x'),
    "NaN": ('"bbox": [0, 0, 2, 2]', '"bbox": [NaN, 0, 2, 2]'),
    "no object": ('{"info"', '[{"info"'),
}


@pytest.mark.parametrize(("old", "new"), ODD.values(), ids=ODD)
@pytest.mark.parametrize("batch", [1, 2, 2000])
def test_what_is_no_coco_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, batch: int
) -> None:
    text = json.dumps(document(3, [0, 1, 1, 2], "x"))
    assert old in text
    path = tmp_path / "odd.json"
    path.write_text(text.replace(old, new))
    monkeypatch.setattr(coco_large, "_BATCH", batch)
    with pytest.raises(BadDataset):
        read_large(path)


@pytest.mark.parametrize("missing", [1, 2, 40, 200, 400, 1000])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, missing: int) -> None:
    path = tmp_path / "cut.json"
    path.write_text(json.dumps(document(3, [0, 1, 1, 2], "x"))[:-missing])
    with pytest.raises(BadDataset):
        read_large(path)
