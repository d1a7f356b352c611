"""Shards: how work is cut, what a name depends on, and files that give back what was put in."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from mal_core import checkpoint as checkpoints
from mal_core import coco
from mal_core.__main__ import main
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Annotation, CategoryRecord, Dataset, ImageRecord
from mal_core.errors import InputError
from mal_core.masks import RLE
from mal_core.shards import ERROR, FORMS, Shard, Shelf, Work, cut

BOX = (0.1, 0.2, 5.7, 6.0)
CATEGORIES = [CategoryRecord(1, "a"), CategoryRecord(2, "b"), CategoryRecord(3, "unused")]
MASK, EMPTY = (RLE.from_runs(np.array(runs), 9, 8) for runs in ([0, 5, 67], [72]))
HEADER = {"weights": "0" * 64, "settings": {"threshold": None}}
ANSWERS = {
    0: [
        {"id": 0, "segmentation": MASK.to_coco(), "area": 5, "mal_flagged": True},
        {"id": 1, ERROR: "the box ist größer"},
    ],
    1: [
        {
            "id": 10,
            "segmentation": EMPTY.to_coco(),
            "area": 0,
            "mal_flagged": False,
            "score": 0.1234,
        }
    ],
}
Capture = pytest.CaptureFixture[str]


def work_of(*sizes: int) -> Work:
    """Images with so many boxes each."""
    return [
        (
            ImageRecord(key, f"{key}.png", 8, 9),
            [Annotation(10 * key + n, key, 1 + n % 2, BOX, None) for n in range(count)],
        )
        for key, count in enumerate(sizes)
    ]  # fmt: skip


@pytest.fixture
def shard() -> Shard:
    return cut(work_of(2, 1), CATEGORIES, HEADER)[0]


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([1, 1, 1, 1, 1], [[0, 1, 2], [3, 4]], id="small"),
        pytest.param([9, 1, 2, 3], [[0], [1, 2], [3]], id="an-image-stays-whole"),
        pytest.param([2, 2, 2], [[0, 1], [2]], id="the-last-may-overfill"),
    ],
)
def test_work_is_cut_in_order_into_shards_of_three(sizes: list[int], wanted: list[Any]) -> None:
    shards = cut(work_of(*sizes), CATEGORIES, HEADER, 3)
    assert [[image.id for image, _ in shard.work] for shard in shards] == wanted
    assert sorted(shard.name for shard in shards) == [shard.name for shard in shards]
    assert all(c.name != "unused" for shard in shards for c in shard.categories)


def test_a_name_depends_on_image_boxes_weights_and_settings_and_on_no_more(shard: Shard) -> None:
    work = work_of(2, 1)
    (image, boxes), rest = work[0], work[1:]
    wider = replace(boxes[0], box=(0.1, 0.2, 5.8, 6.0))
    others = [
        cut([(replace(image, file_name="b.png"), boxes), *rest], CATEGORIES, HEADER),
        cut([(replace(image, width=9), boxes), *rest], CATEGORIES, HEADER),
        cut([(image, [wider, boxes[1]]), *rest], CATEGORIES, HEADER),
        cut([(image, [replace(boxes[0], id=7), boxes[1]]), *rest], CATEGORIES, HEADER),
        cut(work, CATEGORIES, HEADER | {"weights": "1" * 64}),
        cut(work, CATEGORIES, HEADER | {"settings": {"threshold": 0.5}}),
    ]  # fmt: skip
    names = {found[0].name for found in others}
    assert len(names) == len(others)
    assert shard.name not in names
    noted = [(replace(i, extra={"mood": "calm"}), found) for i, found in work]
    assert cut(noted, CATEGORIES, HEADER)[0].name == shard.name


def test_a_shard_survives_the_way_to_another_process(shard: Shard) -> None:
    there = Shard.from_json(shard.to_json())
    assert there == shard
    assert cut(there.work, there.categories, there.header)[0].name == shard.name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["folder", "url"])
def test_a_shelf_gives_back_what_was_put(
    shard: Shard, tmp_path: Path, form: str, place: str
) -> None:
    where = str(tmp_path / "shards") if place == "folder" else f"memory://{tmp_path.name}"
    shelf = Shelf(where, form)
    assert shelf.names() == set()
    assert shelf.get(shard.name) == {}
    shelf.put(shard, ANSWERS)
    first = fsspec.open(f"{where}/{shard.name}{'.json' if form == 'coco' else '.parquet'}")
    with first as file:
        content = file.read()
    shelf.put(shard, dict(reversed(ANSWERS.items())))
    with first as file:
        assert file.read() == content
    assert shelf.names() == {shard.name}
    assert shelf.get(shard.name) == ANSWERS
    shelf.clear()
    assert shelf.names() == set()


def test_what_another_machine_stored_in_a_bucket_is_seen(shard: Shard, bucket: str) -> None:
    here, there = Shelf(f"{bucket}/shards"), Shelf(f"{bucket}/shards")
    assert here.names() == set()
    there._system = fsspec.filesystem("s3", skip_instance_cache=True)  # a listing of its own
    there.put(shard, ANSWERS)
    assert here.names() == {shard.name}
    assert here.get(shard.name) == ANSWERS
    there.clear()
    assert here.names() == set()


def test_a_damaged_shard_is_named(shard: Shard, tmp_path: Path) -> None:
    for form in FORMS:
        shelf = Shelf(tmp_path / form, form)
        assert shelf.names() == set()  # makes the folder
        shelf.put(shard, ANSWERS)
        (path,) = (tmp_path / form).iterdir()
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(InputError, match=rf"{path.name} is damaged .*: remove it"):
            shelf.get(shard.name)


def test_what_is_no_shard_is_left_alone(shard: Shard, tmp_path: Path) -> None:
    shelf, diary = Shelf(tmp_path), tmp_path / "diary.txt"
    shelf.put(shard, ANSWERS)
    diary.write_text("mine")
    for act in (shelf.names, shelf.clear):
        with pytest.raises(InputError, match=r"holds diary\.txt, which is no shard"):
            act()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_coco_shard_is_a_coco_file(shard: Shard, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(shard, ANSWERS)
    dataset = coco.read(tmp_path / f"{shard.name}.json")
    assert [a.id for a in dataset.annotations] == [0, 1, 10]
    assert dataset.annotations[0].rle == MASK
    assert [a.box for a in dataset.annotations] == [(0.1, 0.2, 0.1 + (5.7 - 0.1), 6.0)] * 3
    assert dataset.extra == {"mal_label": HEADER}


def test_a_parquet_shard_is_a_table_with_a_row_a_box(shard: Shard, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    Shelf(tmp_path, "parquet").put(shard, ANSWERS)
    content = (tmp_path / f"{shard.name}.parquet").read_bytes()
    table = parquet.read_table(io.BytesIO(content))
    assert table.column("id").to_pylist() == [0, 1, 10]
    assert table.column("file_name").to_pylist() == ["0.png", "0.png", "1.png"]
    assert table.column("category").to_pylist() == ["a", "b", "a"]
    assert table.column(ERROR).to_pylist() == [None, ANSWERS[0][1][ERROR], None]
    assert json.loads(table.schema.metadata[b"mal_label"]) == HEADER


@pytest.fixture
def words(
    draw_dataset: Callable[[int, int], Dataset], tiny: Checkpoint, tmp_path: Path
) -> list[str]:
    """`label` of three images, a box of which has no extent."""
    weights, data = tmp_path / "tiny.safetensors", tmp_path / "boxes.json"
    checkpoints.save(tiny.model, weights, tiny.metadata)
    boxes = draw_dataset(0, 3)
    coco.save(replace(boxes, annotations=[replace(a, rle=None) for a in boxes.annotations]), data)
    value = json.loads(data.read_bytes())
    value["annotations"][3]["bbox"][2] = 0
    data.write_text(json.dumps(value))
    return ["label", str(data), str(tmp_path / "images"), "--weights", str(weights), "--json"]


def counts(capsys: Capture) -> dict[str, Any]:
    """Of the last event."""
    last: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return {name: last[name] for name in ("labelled", "failed", "kept")}


def test_the_form_and_size_of_shards_and_whether_they_stay_change_no_byte(
    words: list[str], tmp_path: Path, capsys: Capture
) -> None:
    out, kept = tmp_path / "masks.json", tmp_path / "kept"
    kept.mkdir()
    assert main([*words, "--out", str(out)]) == 0
    whole = out.read_bytes()
    wanted = {"labelled": 5, "failed": 1, "kept": 0}
    assert counts(capsys) == wanted
    for form in FORMS:
        place = ["--shards", str(kept / form), "--format", form, "--shard-boxes", "1"]
        assert main([*words, *place]) == 0
        assert counts(capsys) == wanted
        assert len(list((kept / form).iterdir())) == 3
        assert main([*words, *place, "--out", str(out)]) == 0
        assert out.read_bytes() == whole
        assert len(list((kept / form).iterdir())) == 3


def test_images_from_a_bucket_and_shards_in_it_change_no_byte(
    words: list[str], bucket: str, tmp_path: Path
) -> None:
    out = tmp_path / "masks.json"
    assert main([*words, "--out", str(out)]) == 0
    whole = out.read_bytes()
    system = fsspec.filesystem("s3")
    for path in (tmp_path / "images").iterdir():
        system.put_file(path, f"{bucket}/set/{path.name}")
    words[2] = f"{bucket}/set"
    assert main([*words, "--out", str(out), "--shards", f"{bucket}/out"]) == 0
    assert out.read_bytes() == whole
    assert len(Shelf(f"{bucket}/out").names()) == 1


def test_an_answer_needs_a_place(words: list[str], capsys: Capture) -> None:
    assert main(words) == 1
    assert "label needs --out MASKS.json, --shards DIR, or both" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "library", "module"),
    [
        pytest.param(["--ray"], "ray", "mal_core.cluster", id="ray"),
        pytest.param(["--format", "parquet"], "pyarrow", "mal_core.parquet", id="parquet"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_the_way_to_get_it(
    words: list[str],
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    library: str,
    module: str,
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    assert main([*words, "--out", str(tmp_path / "masks.json"), *flags]) == 1
    text = f"error: {library} is not installed: pip install -r requirements-extra.txt"
    assert text in capsys.readouterr().err
