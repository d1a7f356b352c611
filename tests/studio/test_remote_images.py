"""A whole studio whose images lie in a bucket: everything works as if they lay in its folder."""

import shutil
import sys
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image as Pil

from app.accounts import Accounts
from app.backup import back_up
from app.batch import Batch
from app.checkup import check_up
from app.errors import Unavailable
from app.health import Health
from app.images import load_image, path_of, raster_name, thumbnail_name
from app.jobs import Jobs
from app.metrics import Metrics
from app.records import Image, JobState, State, Wish
from app.restore import restore
from app.settings import Settings
from app.store import Store
from app.vitals import Vitals
from mal_core.errors import BadImage
from tests.studio.buckets import Shelf, move
from tests.studio.conftest import NOW, Elsewhere, Studio
from tests.studio.programs import opened
from tests.studio.rest import to_body
from tests.studio.test_backup import digests
from tests.studio.test_logins import CHEAP
from tests.studio.trainer import ended, open_jobs, run, wait_for


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a store in memory, where a bucket would only take time."""
    return f"memory://{tmp_path.name}/images"


@pytest.fixture
def far(studio: Studio, url: str) -> Studio:
    """The studio with its images there."""
    return move(studio, url)


def names_of(images: list[Image]) -> set[str]:
    return {name(image) for image in images for name in (raster_name, thumbnail_name)}


def break_off(monkeypatch: pytest.MonkeyPatch, *acts: str) -> None:
    """Let the store fail at what it is asked to do."""

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("key=hush-hush")

    for act in acts:
        monkeypatch.setattr(MemoryFileSystem, act, fail)


def photo(path: Path) -> Path:
    Pil.new("RGB", (40, 30), "teal").save(path)
    return path


def test_from_photos_to_an_export_and_in_again(studio: Studio, bucket: str, tmp_path: Path) -> None:
    pixels = {image.file_name: load_image(studio.settings, image) for image in studio.images}
    far = move(studio, bucket)
    with opened(far) as door:
        client, thing = door.client(), far.categories[0].id
        new = client.upload(far.project.id, photo(tmp_path / "new.png")).images[0]
        client.add_boxes(new.id, [((5, 5, 30, 25), thing)])
        done = client.wait(client.propose_all(far.project.id).id, every=0.01)
        assert (done.state, done.result["changed"]) == (JobState.DONE, 1)
        for image in far.images:
            client.review(client.propose(image.id, (10.0, 20.0, 60.0, 90.0), thing), "accept")
        told = client.export(far.project.id, tmp_path / "out.zip", images=True)
        assert (told.n_annotations, told.n_exact) == (3, 3)
        again = client.add_project("Again", ["thing"])
        assert client.import_file(again.id, tmp_path / "out.zip").n_masks == 3
        assert len(client.images(again.id)) == 4
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        for name, expected in pixels.items():
            with archive.open(f"images/{name}") as file, Pil.open(file) as found:
                assert np.array_equal(np.asarray(found), expected)
    images = far.store.list_all_images()
    assert Shelf(bucket).names() == names_of(images)
    assert not far.settings.images.exists()
    assert {image.sha256 for image in images} >= {image.sha256 for image in studio.images}


def test_a_fine_tune_has_its_images_at_hand_while_it_runs(
    far: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child is given a folder with all of them, also when the cache holds next to nothing."""
    for index in (0, 0, 0, 1, 2):
        far.add(index, State.ACCEPTED)
    far = replace(far, settings=replace(far.settings, cache_bytes=0))
    command = Jobs._command
    monkeypatch.setattr(Jobs, "_command", lambda *of: [*LOOK, command(*of)[5]])
    jobs, again = open_jobs(far)
    job = run(jobs, far)
    assert all(image.sha256 in job.error for image in far.images), job.error
    Shelf(far.settings.images_url).remove(raster_name(far.images[1]))
    shutil.rmtree(far.settings.cache)
    job = run(jobs, far)
    assert job.state is JobState.FAILED
    assert f"raster {raster_name(far.images[1])} cannot be found" in job.error
    jobs.close()
    again.close()
    assert list(far.settings.jobs.glob("*/images")) == []


LOOK = (sys.executable, "-c", """
import hashlib, sys
from pathlib import Path
files = [path for path in Path(sys.argv[1]).glob("*/*") if path.is_file()]
sys.exit("seen " + " ".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in files))
""")  # fmt: skip


def test_a_raster_that_is_gone_or_changed_there_is_named(far: Studio) -> None:
    shelf, (gone, changed, whole) = Shelf(far.settings.images_url), far.images
    shelf.remove(raster_name(gone))
    shelf.write(raster_name(changed), b"other")
    for image, trouble in ((gone, "cannot be found"), (changed, "another content")):
        for act in (path_of, load_image):
            with pytest.raises(BadImage, match=f"{image.file_name} .*{trouble}.*from a backup"):
                act(far.settings, image)
    assert load_image(far.settings, whole).shape == (whole.height, whole.width, 3)
    health = Health(far.settings, far.store, lambda: NOW)
    assert len(list(health.check(far.project.id))) == 3  # it needs thumbnails only


def test_an_upload_that_the_store_does_not_take_leaves_nothing(
    far: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Shelf(far.settings.images_url).names()
    library, intake = far.library()
    with monkeypatch.context() as broken, intake:
        break_off(broken, "put_file")
        with pytest.raises(Unavailable, match="nothing was kept, try again") as refusal:
            list(library.add_files(far.project.id, [photo(tmp_path / "new.png")]))
    assert "hush" not in str(refusal.value)
    assert len(far.store.list_images(far.project.id)) == 3
    assert Shelf(far.settings.images_url).names() == before
    assert [path for path in far.settings.cache.rglob("*") if path.is_file()] == []


def test_routes_answer_503_while_the_store_is_down(
    far: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_off(monkeypatch, "get_file", "put_file", "info", "cat_file")
    image, thing = far.images[0].id, far.categories[0].id
    with opened(far) as door:
        headers = {"x-mal-session": far.sessions.mint("local")}
        box = {"image_id": image, "box": [10, 20, 60, 90], "category_id": thing}
        upload = door.http.post(
            f"/mal/v1/projects/{far.project.id}/images?file_name=a.png",
            content=photo(tmp_path / "a.png").read_bytes(),
        )
        told = [
            upload,
            door.http.get(f"/mal/image/{image}", headers=headers),
            door.http.get(f"/mal/image/{image}?size=thumb", headers=headers),
            door.http.post("/mal/propose", json=box, headers=headers),
            door.http.get(f"/mal/v1/images/{image}/file"),
        ]
        for answer in told:
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"] == "5"
            assert answer.json()["error"]["code"] == "unavailable"
        assert far.store.list_instances(image) == []
        # What needs no pixels goes on.
        mine = door.http.post(
            "/mal/annotations", json=to_body(far.add(0), image_id=image, request_id="x"),
            headers=headers,
        )  # fmt: skip
        assert mine.status_code == 200


def test_a_round_pauses_while_the_store_is_down_and_goes_on_with_all_boxes(
    far: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = [far.add(index, masked=False) for index in (0, 1, 2)]
    batch = Batch(far.settings, far.store, far.workflow)
    with monkeypatch.context() as broken:
        break_off(broken, "get_file")
        job = batch.start(far.project.id)
        paused = wait_for(far, job.id, lambda job: job.wish is Wish.PAUSE and job.launches == 0)
    assert paused.progress["failed"] == 1
    assert "the image store cannot be reached" in paused.progress["errors"][0]
    monkeypatch.setattr("app.images.remote.time.monotonic", lambda: 1e9)  # it has been long
    batch.wish(job.id, Wish.GO)
    done = ended(far, job.id)
    assert (done.state, done.result["changed"]) == (JobState.DONE, 3)
    assert [far.store.get_instance(box.id).version for box in bare] == [2, 2, 2]
    batch.close()


def test_the_studio_is_ready_when_its_store_is(
    far: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(far.store, CHEAP)
    vitals = Vitals(far.settings, far.store, far.workflow, accounts, Metrics(), lambda: 0)
    assert vitals.reasons() == []
    assert Shelf(far.settings.images_url).names() - names_of(far.images) == {"mal-studio.txt"}
    monkeypatch.setattr("app.vitals.KEPT_SECONDS", 0.0)
    break_off(monkeypatch, "info")
    (reason,) = vitals.reasons()
    assert "the image store cannot be reached" in reason
    assert "hush" not in reason


# Backup, restore, check


def found(settings: Settings, store: Store) -> list[str]:
    return [finding.text for finding in check_up(settings, store)]


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_backup_moves_images_from_bucket_to_folder_and_back(
    studio: Studio, bucket: str, url: str, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    far = move(studio, bucket)
    far.add(0, State.ACCEPTED)
    assert back_up(far.settings, far.store, tmp_path / "1.zip", NOW).missing == []
    home = elsewhere(tmp_path / "home")
    assert restore(home, tmp_path / "1.zip") == []
    with closing(Store(home.database)) as store:
        assert digests(store) == digests(far.store)
        assert back_up(home, store, tmp_path / "2.zip", NOW).missing == []
    assert members(tmp_path / "1.zip") == members(tmp_path / "2.zip")
    other = replace(elsewhere(tmp_path / "other"), images_url=url)
    assert restore(other, tmp_path / "2.zip") == []
    shelf = Shelf(url)
    assert {name: shelf.read(name) for name in shelf.names()} == {
        path.relative_to(home.images).as_posix(): path.read_bytes()
        for path in home.images.glob("*/*")
    }
    assert not other.images.exists()


def test_a_backup_of_a_store_that_is_down_leaves_no_file(
    far: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Elsewhere
) -> None:
    back_up(far.settings, far.store, tmp_path / "whole.zip", NOW)
    shutil.rmtree(far.settings.cache)
    other = replace(elsewhere(tmp_path / "other"), images_url=f"{far.settings.images_url}-2")
    with monkeypatch.context() as broken:
        break_off(broken, "get_file")
        with pytest.raises(Unavailable):
            back_up(far.settings, far.store, tmp_path / "b.zip", NOW)
        with pytest.raises(Unavailable):
            restore(other, tmp_path / "whole.zip")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "whole.zip"}


def test_a_backup_tells_what_the_store_lost(
    far: Studio, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    shelf, (gone, changed, _) = Shelf(far.settings.images_url), far.images
    shelf.remove(raster_name(gone))
    shelf.write(raster_name(changed), b"other")
    report = back_up(far.settings, far.store, tmp_path / "b.zip", NOW)
    assert len(report.missing) == 2
    assert all(
        image.file_name in line and image.sha256 in line
        for image, line in zip((gone, changed), report.missing, strict=True)
    )
    other = replace(elsewhere(tmp_path / "other"), images_url=f"{far.settings.images_url}-2")
    troubles = restore(other, tmp_path / "b.zip")
    assert [t.split(" cannot")[0] for t in troubles] == [
        f"the raster of {image.file_name}" for image in (gone, changed)
    ]


def test_check_reads_the_store_itself_and_tells_what_belongs_to_nobody(far: Studio) -> None:
    shelf, (gone, changed, torn) = Shelf(far.settings.images_url), far.images
    assert [text for text in found(far.settings, far.store) if "looked at" in text] == [
        "3 rasters looked at in the image store",
        "1 checkpoints looked at",
    ]
    for image in far.images:
        path_of(far.settings, image)  # what is in the cache says nothing
    shelf.remove(raster_name(gone))
    shelf.write(raster_name(changed), b"other")
    shelf.write(thumbnail_name(torn), b"other")
    shelf.write(f"ff/{'f' * 64}.png", b"of nobody")
    told = "\n".join(found(far.settings, far.store))
    assert f"the raster of {gone.file_name} cannot be found; bring it back from a backup" in told
    assert f"the raster of {changed.file_name} cannot be trusted: another content" in told
    assert f"the thumbnail of {torn.file_name} cannot be trusted: it is damaged" in told
    text = f"note: 1 files in the image store belong to nothing (9 bytes), such as {'f' * 64}.png"
    assert text in told
