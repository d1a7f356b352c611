"""The routes for programs, by the client that programs use: what they do, and what they refuse."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from app.client import Client
from app.errors import Conflict, NotAllowed, NotFound, TooLarge
from app.images import path_of
from app.programs import safe_name
from app.records import JobState, ModelState, Split, State
from mal_core.errors import BadDataset, InputError, MALError
from tests.studio.conftest import PHOTOS, Studio, blob
from tests.studio.programs import Door, opened
from tests.studio.trainer import SAVE, learned

BOX = (10.0, 20.0, 60.0, 90.0)


@pytest.fixture
def door(studio: Studio) -> Iterator[Door]:
    with opened(studio) as made:
        yield made


@pytest.fixture
def client(door: Door) -> Client:
    return door.client()


@pytest.fixture
def image(studio: Studio) -> int:
    return studio.images[0].id


@pytest.fixture
def thing(studio: Studio) -> int:
    return studio.categories[0].id


@pytest.mark.both
def test_from_photos_to_masks_that_pycocotools_reads(client: Client, tmp_path: Path) -> None:
    project = client.add_project("Cups", ["cup", "saucer"])
    cup = client.categories(project.id)["cup"]
    image = client.upload(project.id, PHOTOS / "coffee.png").images[0]
    assert (image.width, image.height) == (600, 400)
    bare = client.add_boxes(image.id, [((100, 50, 300, 300), cup), ((0, 0, 90, 80), cup)])
    assert [one.mask for one in bare] == [None, None]
    masked = [client.propose_again(one) for one in bare]
    drawn = client.propose(image.id, (310, 60, 590, 390), cup)
    for one in [*masked, drawn]:
        assert client.review(one, "accept").state is State.ACCEPTED
    told = client.export(project.id, tmp_path / "cups.zip", images=True)
    assert (told.n_annotations, told.n_exact, told.min_iou) == (3, 3, 1.0)
    with zipfile.ZipFile(tmp_path / "cups.zip") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("annotations.json")]
        archive.extract(name, tmp_path)
    read = COCO(tmp_path / name)
    areas = {one["id"]: read.annToMask(one).sum() for one in read.anns.values()}
    kept = client.instances(image.id)
    assert areas == {one.number: one.mask.area for one in kept if one.mask is not None}
    assert len(areas) == 3


def test_projects_categories_and_images_are_listed(client: Client, studio: Studio) -> None:
    assert [project.name for project in client.projects()] == [studio.project.name]
    assert client.add_category(studio.project.id, "THING").id == studio.categories[0].id
    assert {*client.categories(studio.project.id)} == {"thing", "cat"}
    listed = client.images(studio.project.id)
    assert [one.file_name for one in listed] == [one.file_name for one in studio.images]
    assert "coco" in {one.name for one in client.formats()}


def test_an_image_comes_back_as_the_studio_keeps_it(
    client: Client, studio: Studio, tmp_path: Path
) -> None:
    client.download(studio.images[0].id, tmp_path / "photo")
    assert (tmp_path / "photo").read_bytes() == path_of(
        studio.settings, studio.images[0]
    ).read_bytes()


def test_the_same_photo_is_taken_once(client: Client, studio: Studio) -> None:
    told = client.upload(studio.project.id, PHOTOS / "coffee.png", "again.png")
    assert told.added == 0
    assert [one.id for one in told.images] == [studio.images[0].id]


def test_a_zip_brings_many_and_says_what_it_left_out(
    client: Client, studio: Studio, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "photos.ZIP", "w") as archive:
        archive.write(PHOTOS / "horse.png", "a/horse.png")
        archive.write(PHOTOS / "clock_motion.png", "b/clock.png")
        archive.writestr("bad.png", b"no image")
        archive.writestr("notes.txt", b"hello")
    told = client.upload(studio.project.id, tmp_path / "photos.ZIP")
    assert [one.file_name for one in told.images] == ["a/horse.png", "b/clock.png"]
    assert told.added == 2
    assert len(told.problems) == 2


HOSTILE = (
    *("../../../etc/passwd", "/etc/passwd", "..", ".", "", "a/../../b.png", "C:\\x\\y.png", " "),
    *("\x00nul.png", "line\nbreak.png", "<script>.png", ".hidden.png", "con.png", "a.b/../.png"),
    *("photo.png/../../../x", "\u202egnp.exe", "ü" * 255, "x." * 120, "y" * 100 + "." + "ü" * 150),
)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_becomes_one_that_a_disk_takes(name: str, tmp_path: Path) -> None:
    made = safe_name(name)
    (tmp_path / made).write_bytes(b"x")
    assert [path.name for path in tmp_path.iterdir()] == [made]
    assert len(made.encode()) <= 220


def test_a_hostile_name_chooses_no_place(door: Door, studio: Studio) -> None:
    root = studio.settings.data_dir.parent

    def files() -> set[Path]:
        return {path for path in root.rglob("*") if path.is_file()}

    before, photo = files(), (PHOTOS / "horse.png").read_bytes()
    for number, name in enumerate(HOSTILE):
        path = f"/mal/v1/projects/{studio.project.id}/images"
        sent = photo + bytes([number])  # another file each time, of the same picture
        answer = door.http.post(path, content=sent, params={"file_name": name})
        assert answer.status_code == 200, (name, answer.text)
        (told,) = answer.json()["images"]
        assert ".." not in told["file_name"].split("/"), name
        assert told["file_name"].isprintable()
    new = {path.relative_to(studio.settings.data_dir) for path in files() - before}
    assert all(path.parts[0] in ("images", "studio.db-wal", "studio.db-shm") for path in new)


def test_what_is_no_image_is_refused_and_leaves_nothing(
    client: Client, studio: Studio, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"no photo")
    with pytest.raises(InputError, match=r"photo\.jpg"):
        client.upload(studio.project.id, tmp_path / "photo.jpg")
    with pytest.raises(NotFound):
        client.upload(99, PHOTOS / "horse.png")
    assert [*studio.settings.uploads.iterdir()] == []


def test_a_body_is_cut_at_the_cap_whether_it_says_its_length_or_not(
    studio: Studio, tmp_path: Path
) -> None:
    small = replace(studio, settings=replace(studio.settings, max_upload_bytes=1000))
    (tmp_path / "long.png").write_bytes(b"x" * 1001)
    with opened(small) as door:
        with pytest.raises(TooLarge, match="1,000 bytes"):
            door.client().upload(studio.project.id, tmp_path / "long.png")
        path = f"/mal/v1/projects/{studio.project.id}/images?file_name=x.png"
        chunks = door.http.post(path, content=iter([b"x" * 100] * 20))
        assert (chunks.status_code, chunks.json()["error"]["code"]) == (413, "too_large")
    assert [*studio.settings.uploads.glob("*")] == []


@pytest.mark.both
def test_boxes_asked_for_twice_are_added_once(door: Door, image: int, thing: int) -> None:
    body = {"boxes": [{"box": BOX, "category_id": thing}] * 2, "request_id": "mine"}
    path = f"/mal/v1/images/{image}/boxes"
    first, second = (door.http.post(path, json=body).json() for _ in range(2))
    assert first == second
    assert len(door.client().instances(image)) == 2
    body["boxes"] = [{"box": BOX, "category_id": thing}] * 3
    assert door.http.post(path, json=body).json()["error"]["code"] == "not_allowed"


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        pytest.param((10.0, 20.0, 9000.0, 90.0), InputError, id="outside"),
        pytest.param((60.0, 20.0, 10.0, 90.0), InputError, id="turned round"),
    ],
)
def test_of_boxes_all_or_none_are_added(
    client: Client, image: int, thing: int, box: tuple[float, ...], kind: type[MALError]
) -> None:
    with pytest.raises(kind):
        client.add_boxes(image, [(BOX, thing), (box, thing)])  # type: ignore[list-item]
    assert client.instances(image) == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"boxes": []}, id="no box"),
        pytest.param({"boxes": [{"box": [1, 2, 3], "category_id": 1}]}, id="three corners"),
        pytest.param({"boxes": [{"box": [1, 2, 3, "x"], "category_id": 1}]}, id="a word"),
        pytest.param({}, id="nothing"),
        pytest.param([], id="a list"),
    ],
)
def test_a_body_of_another_shape_is_told_what_must_hold(
    door: Door, image: int, body: object
) -> None:
    answer = door.http.post(f"/mal/v1/images/{image}/boxes", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_request")


@pytest.mark.both
def test_a_late_save_is_kept_and_told(client: Client, studio: Studio) -> None:
    seen = client.instance(studio.add().id)
    fresh = client.save(seen, mask=blob(studio.images[0], size=20))
    assert (fresh.version, fresh.state) == (seen.version + 1, State.CORRECTED)
    with pytest.raises(Conflict) as race:
        client.save(seen, mask=blob(studio.images[0], size=30))
    kept = {one.id for one in studio.store.list_revisions(seen.id)}
    assert race.value.kept in kept
    assert client.instance(seen.id) == fresh


def test_a_mask_of_another_size_is_refused(client: Client, studio: Studio) -> None:
    seen = client.instance(studio.add().id)
    with pytest.raises(InputError, match="image's size"):
        client.save(seen, mask=blob(studio.images[1]))


@pytest.mark.both
@pytest.mark.parametrize(
    ("verdict", "state"),
    [("accept", State.ACCEPTED), ("reject", State.REJECTED), ("flag", State.PROPOSED)],
)
def test_a_verdict_is_a_revision_with_its_comment(
    client: Client, studio: Studio, verdict: str, state: State
) -> None:
    seen = client.instance(studio.add().id)
    client.review(seen, verdict, "look at the rim")  # type: ignore[arg-type]
    head = studio.store.get_instance(seen.id)
    assert (head.draft.state, head.version) == (state, 2)
    assert head.draft.rle == seen.mask
    (said,) = studio.store.list_comments(seen.image_id)
    assert (said.instance_id, said.text, said.person) == (seen.id, "look at the rim", "local")


def test_a_box_without_a_mask_cannot_be_accepted(client: Client, image: int, thing: int) -> None:
    (bare,) = client.add_boxes(image, [(BOX, thing)])
    with pytest.raises(NotAllowed, match="needs a mask"):
        client.review(bare, "accept")


@pytest.mark.both
def test_boxes_get_their_masks_by_a_job(client: Client, studio: Studio, thing: int) -> None:
    for one in studio.images:
        client.add_boxes(one.id, [(BOX, thing)])
    seen: list[JobState] = []
    job = client.propose_all(studio.project.id)
    done = client.wait(job.id, lambda job: seen.append(job.state))
    assert done.result["changed"] == 3
    assert seen[-1] is JobState.DONE
    assert all(one.mask for image in studio.images for one in client.instances(image.id))
    assert [one.id for one in client.jobs(studio.project.id)] == [job.id]


def coco(studio: Studio, **changes: object) -> bytes:
    """A COCO file of one box on the first photo."""
    image = studio.images[0]
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 50, 70], "iscrowd": 0}
    size = {"width": image.width, "height": image.height}
    data = {
        "images": [{"id": 1, "file_name": image.file_name, **size}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [entry | {"area": 3500} | changes],
    }
    return json.dumps(data).encode()


@pytest.mark.both
def test_an_import_looks_first_and_then_brings_boxes(
    client: Client, studio: Studio, image: int, tmp_path: Path
) -> None:
    (tmp_path / "boxes.json").write_bytes(coco(studio))
    found = client.import_file(studio.project.id, tmp_path / "boxes.json", dry_run=True)
    assert (found.n_boxes, found.problems) == (1, [])
    assert client.instances(image) == []
    brought = client.import_file(studio.project.id, tmp_path / "boxes.json")
    assert brought.n_boxes == 1
    assert [one.box for one in client.instances(image)] == [BOX]
    assert client.import_file(studio.project.id, tmp_path / "boxes.json").n_known == 1


def test_an_import_with_a_problem_brings_nothing_and_names_it(
    client: Client, studio: Studio, image: int, tmp_path: Path
) -> None:
    (tmp_path / "boxes.json").write_bytes(coco(studio, bbox=[10, 20, -5, 70]))
    found = client.import_file(studio.project.id, tmp_path / "boxes.json", dry_run=True)
    assert len(found.problems) == 1
    with pytest.raises(BadDataset) as told:
        client.import_file(studio.project.id, tmp_path / "boxes.json")
    assert told.value.problems == found.problems
    assert client.instances(image) == []
    with pytest.raises(InputError, match="no format"):
        client.import_file(studio.project.id, tmp_path / "boxes.json", "excel")


@pytest.mark.parametrize(
    "name", ["../studio.db", "..%2fsecret", "project-2-coco-x.zip", "project-1-x.txt", "%00"]
)
def test_only_a_projects_exports_are_handed_out(door: Door, studio: Studio, name: str) -> None:
    door.client().export(studio.project.id, studio.settings.data_dir.parent / "mine.zip")
    answer = door.http.get(f"/mal/v1/projects/{studio.project.id}/exports/{name}")
    assert answer.status_code == 404


def test_every_format_can_be_exported(client: Client, studio: Studio, tmp_path: Path) -> None:
    studio.add(0, State.ACCEPTED)
    for format_ in client.formats():
        target = tmp_path / f"{format_.name}.zip"
        client.export(studio.project.id, target, format_.name)
        with zipfile.ZipFile(io.BytesIO(target.read_bytes())) as archive:
            assert archive.testzip() is None


def ready(studio: Studio) -> None:
    """Enough to learn from, on one photo, and to judge by, on two."""
    parts = (Split.TRAIN, Split.HELD_OUT, Split.HELD_OUT)
    splits = {image.id: part for image, part in zip(studio.images, parts, strict=True)}
    studio.store.set_splits(studio.project.id, splits)
    for index in (0, 0, 0, 1, 2):
        studio.add(index, State.ACCEPTED)


def test_a_fine_tune_is_started_waited_for_and_rolled_back(
    client: Client, studio: Studio, child: Callable[[str], None], weights: Path
) -> None:
    ready(studio)
    child(learned(weights, 0.8))
    before = client.models(studio.project.id).in_use
    done = client.wait(client.train(studio.project.id).id)
    assert done.result["state"] == "promoted"
    models = client.models(studio.project.id)
    assert models.in_use != before
    assert client.roll_back(studio.project.id).id == before
    assert client.models(studio.project.id).in_use == before
    assert client.use_model(studio.project.id, models.in_use).id == models.in_use
    told = [(one.person, one.act) for one in studio.store.list_audit(limit=100)]
    acts = ("job.start", "model.roll back", "model.use")
    assert [act for who, act in told if who == "local"] == [*reversed(acts)]


def test_a_person_decides_where_the_gate_cannot(
    client: Client, studio: Studio, child: Callable[[str], None], weights: Path
) -> None:
    ready(studio)
    child(learned(weights, 0.8, n=2))
    job = client.wait(client.train(studio.project.id).id)
    assert client.decide(job.id, use=False).state is ModelState.REJECTED
    with pytest.raises(NotAllowed):
        client.decide(job.id, use=True)


def test_a_fine_tune_stops_and_does_not_pause(
    client: Client, studio: Studio, child: Callable[[str], None]
) -> None:
    ready(studio)
    child("say('cache', done=0, total=1)\ntime.sleep(60)\n" + SAVE)
    job = client.train(studio.project.id)
    with pytest.raises(NotAllowed, match="does not pause"):
        client.pause(job.id)
    client.stop(job.id)
    with pytest.raises(MALError, match="stopped"):
        client.wait(job.id, every=0.0)


def test_too_little_to_learn_from_is_said(client: Client, studio: Studio) -> None:
    with pytest.raises(NotAllowed, match="learning needs"):
        client.train(studio.project.id)
