"""A studio that serves: hostile masks, images, weights get words; a crowd gets what is its own."""

import hashlib
import io
import itertools
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image as Pil

from app.people import Role, User
from app.records import Draft, Instance, ModelState, NewModel, Project, State
from mal_core import checkpoint
from mal_core.__main__ import main
from mal_core.errors import CheckpointError
from mal_core.masks import RLE
from tests.core.test_checkpoint import HOSTILE, join, take_apart
from tests.serving import Meter
from tests.studio.bad_images import bad_images
from tests.studio.bad_masks import bad_masks, strokes, with_raw
from tests.studio.conftest import NOW, blob
from tests.studio.crowd import USERS, Seat, check_kept, picture, work
from tests.studio.rest import BOX, to_body
from tests.studio.served import Served

pytestmark = pytest.mark.soak
ROOM = 2**30  # bytes that the server and its children may grow by
Scale = Callable[[int, int], int]
Tell = Callable[[str], None]


@pytest.fixture
def ada(served: Served) -> User:
    return served.store.list_users()[0]


@pytest.fixture
def page(served: Served, ada: User) -> Iterator[httpx.Client]:
    with served.page(ada) as opened:
        yield opened


@pytest.fixture
def instance(served: Served) -> Instance:
    """A mask of the first photo."""
    project = served.store.list_projects()[0]
    image = served.store.list_images(project.id)[0].image
    category = served.store.list_categories(project.id)[0]
    draft = Draft(State.PROPOSED, category.id, tuple(BOX), blob(image))
    return served.store.add_instance(image.id, draft, "Ada", "box", NOW)


def refusal(answer: httpx.Response) -> str:
    """The code of a refusal, whose text names neither a place nor the program's insides."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    ((name, error),) = answer.json().items()
    assert name == "error"
    assert error["code"] in ("bad_input", "bad_request", "not_allowed", "failed"), error
    assert len(error["message"]) > 10
    assert not re.search(r"/(tmp|work|home|root|usr)/|Traceback|\.py\b", error["message"])
    return str(error["code"])


def routes(instance: Instance) -> dict[str, tuple[str, str, str, dict[str, object]]]:
    """Each route that takes a mask or strokes: method, path, the hostile field, the rest."""
    draft, one = instance.draft, instance.id
    box = {"image_id": instance.image_id, "box": BOX, "category_id": draft.category_id}
    return {
        "save": ("PUT", f"/mal/annotations/{one}", "rle", to_body(instance)),
        "create": ("POST", "/mal/annotations", "rle",
                   to_body(instance, image_id=instance.image_id)),
        "save by program": ("PUT", f"/mal/v1/instances/{one}", "rle", to_body(instance)),
        "steer": ("POST", "/mal/propose", "strokes",
                  box | {"instance_id": one, "version": instance.version}),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["save", "create", "save by program", "steer"])
def test_a_malformed_mask_is_refused_in_words_and_changes_nothing(
    served: Served, page: httpx.Client, instance: Instance, scale: Scale, tell: Tell, name: str
) -> None:
    method, path, field, body = routes(instance)[name]
    sound = instance.draft.rle
    assert sound is not None
    pid, wanted, sent = served.process.pid, scale(25, 500), 0
    chance, texts = random.Random(name), bad_masks(sound, name)
    refused: dict[str, int] = {}
    with Meter(pid) as meter:
        while sum(refused.values()) < wanted:
            sent += 1
            raw = strokes(chance) if field == "strokes" else next(texts)
            made = body | ({"request_id": f"{name} {sent}"} if name == "create" else {})
            version = served.store.get_instance(instance.id).version
            answer = served.ask(
                page, method, path, content=with_raw(made, field, raw),
                headers={"if-match": str(version), "content-type": "application/json"},
            )  # fmt: skip
            if answer.is_success:  # the wound was none
                assert is_what_was_meant(answer.json()["rle"], json.loads(raw)), raw[:200]
            else:
                code = refusal(answer)
                refused[code] = refused.get(code, 0) + 1
                assert served.store.get_instance(instance.id).version == version
    assert served.process.pid == pid
    assert meter.growth < ROOM
    tell(f"{name}: {sent} sent, refused {refused}; slowest so far {served.slowest:.2f} s,"
         f" memory +{meter.growth / 2**20:.0f} MiB")  # fmt: skip


def is_what_was_meant(stored: object, sent: object) -> bool:
    """Whether what came back is the mask that was sent; no mask is a sound answer, too."""
    if sent is None:
        return stored is None
    return RLE.from_coco(stored) == RLE.from_coco(sent)


@pytest.fixture
def project(served: Served) -> Project:
    """An empty one."""
    model = served.store.list_projects()[0].model_id
    return served.store.add_project("Uploads", model, NOW)


def test_a_malformed_image_is_refused_in_words_and_what_is_taken_is_a_picture_of_ours(
    served: Served, page: httpx.Client, project: Project, scale: Scale, tell: Tell
) -> None:
    pid, wanted, sent = served.process.pid, scale(40, 500), 0
    address, refused, taken = f"/mal/v1/projects/{project.id}/images", 0, 0
    with Meter(pid) as meter:
        for kind, name, data in bad_images("uploads"):
            sent += 1
            answer = served.ask(page, "POST", address, params={"file_name": name}, content=data)
            if answer.is_success:
                taken += 1
                for image in answer.json()["images"]:
                    check_stored(page, image, data)
            else:
                assert refusal(answer) == "bad_input", kind
                refused += 1
            if refused == wanted:
                break
    assert served.process.pid == pid
    assert meter.growth < ROOM
    for summary in served.store.list_images(project.id):
        name = PurePosixPath(summary.image.file_name)
        assert str(name).isprintable()
        assert not name.is_absolute()
        assert ".." not in name.parts
    assert [*served.process.data.rglob("incoming-*"), *served.process.data.rglob("api-*")] == []
    tell(f"{sent} sent, {refused} refused, {taken} taken; slowest so far {served.slowest:.2f} s,"
         f" memory +{meter.growth / 2**20:.0f} MiB")  # fmt: skip


def check_stored(page: httpx.Client, image: dict[str, Any], sent: bytes) -> None:
    """What is served was encoded here: whole, of the size it says, and not what was sent."""
    raster = page.get(f"/mal/image/{image['id']}").content
    with Pil.open(io.BytesIO(raster), formats=("JPEG", "PNG")) as opened:
        opened.load()
        assert opened.size == (image["width"], image["height"])
        assert opened.mode == "RGB"
        assert not opened.getexif()
    assert raster != sent


def hostile_weights(sound: bytes) -> Iterator[tuple[str, bytes]]:
    """Files that somebody calls weights, each another one."""
    header, tensors = take_apart(sound)
    (largest,) = sorted(header.keys() - {"__metadata__"}, key=lambda n: header[n]["shape"])[-1:]
    for entry in HOSTILE:
        (change,), made = entry.values, json.loads(json.dumps(header))
        with suppress(KeyError):  # it wounds a note that these weights do not have
            yield str(entry.id), change(made, tensors)
    yield "a pickle", pickled()
    yield "a zip", io.BytesIO(b"PK\x03\x04" + sound).getvalue()
    yield "a million names", join({f"t{n}": {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}
                                   for n in range(100_000)}, b"")  # fmt: skip
    shape = [2**31, 2**31]
    yield "a giant", join(header | {largest: header[largest] | {"shape": shape}}, tensors)
    backwards = header[largest]["data_offsets"][::-1]
    yield (
        "backwards",
        join(header | {largest: header[largest] | {"data_offsets": backwards}}, tensors),
    )


def some(files: Iterator[tuple[str, bytes]], step: int) -> Iterator[tuple[str, bytes]]:
    """Each so-manieth."""
    return itertools.islice(files, 0, None, step)


def pickled() -> bytes:
    """What PyTorch writes."""
    target = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, target)
    return target.getvalue()


def test_hostile_weights_are_refused_in_words_and_the_model_in_use_goes_on(
    served: Served, page: httpx.Client, instance: Instance, project: Project,
    tiny_weights: Path, scale: Scale, tell: Tell,
) -> None:  # fmt: skip
    """They stand in the registry as if a job had left them, and somebody wants to use them."""
    pid, tried = served.process.pid, 0
    models = served.process.data / "models"
    with Meter(pid) as meter:
        for name, data in some(hostile_weights(tiny_weights.read_bytes()), scale(6, 1)):
            sha256 = hashlib.sha256(data).hexdigest()
            (models / f"{sha256}.safetensors").write_bytes(data)
            new = NewModel(f"<b>{name}", sha256, {}, project.id, project.model_id)
            model = served.store.add_model(new, ModelState.PROMOTED, NOW)
            answer = served.ask(
                page, "POST", f"/mal/v1/projects/{project.id}/models/{model.id}/use"
            )
            assert refusal(answer) == "failed", name
            assert served.store.get_project(project.id).model_id == project.model_id
            tried += 1
    assert tried >= scale(5, 20)
    assert served.process.pid == pid
    assert meter.growth < ROOM
    box = {"image_id": instance.image_id, "box": BOX, "category_id": instance.draft.category_id}
    assert served.ask(page, "POST", "/mal/propose", json=box).is_success
    tell(f"{tried} refused; slowest so far {served.slowest:.2f} s,"
         f" memory +{meter.growth / 2**20:.0f} MiB")  # fmt: skip


def test_no_studio_starts_with_weights_that_are_none(
    tiny_weights: Path, tmp_path: Path, scale: Scale, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--weights` is how a person brings their own; none is kept that cannot be used."""
    kept, bad = tmp_path / "models", tmp_path / "mine.safetensors"
    for name, data in some(hostile_weights(tiny_weights.read_bytes()), scale(6, 1)):
        bad.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"mine\.safetensors"):
            checkpoint.keep(bad, kept)
        assert not kept.exists(), name
        assert main(["info", "--weights", str(bad)]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        assert 10 < len(said.err) < 600


@pytest.fixture
def seats(served: Served, scale: Callable[[int, int], int]) -> Iterator[list[Seat]]:
    """Sessions of ten users, each user with a project of their own, each session with an image."""
    store, model = served.store, served.store.list_projects()[0].model_id
    ada = store.list_users()[0]
    users = [
        store.add_user(f"Annotator {n}", "none", is_admin=False, now=NOW) for n in range(USERS)
    ]
    projects = [store.add_project(f"Of {user.name}", model, NOW).id for user in users]
    for user, project in zip(users, projects, strict=True):
        store.set_role(project, user.id, Role.ANNOTATOR)
    with ExitStack() as open_pages:
        admin, found = open_pages.enter_context(served.page(ada)), []
        for number in range(scale(10, 100)):
            user, project = users[number % USERS], projects[number % USERS]
            answer = admin.post(
                f"/mal/v1/projects/{project}/images",
                params={"file_name": f"{number}.png"},
                content=picture(number),
            )
            page = open_pages.enter_context(served.page(user))
            category = store.add_category(project, "thing").id
            image = answer.json()["images"][0]
            raster = admin.get(f"/mal/image/{image['id']}").content
            found.append(Seat(number, user, page, project, category, image, raster, []))
        yield found


def test_many_sessions_at_once_get_what_is_theirs_and_no_error(
    served: Served, seats: list[Seat], scale: Callable[[int, int], int], tell: Callable[[str], None]
) -> None:
    pid, calls = served.process.pid, scale(5, 20)
    begin = time.perf_counter()
    with Meter(pid) as meter, ThreadPoolExecutor(len(seats)) as threads:
        list(threads.map(lambda seat: work(seat, calls), seats))
    seconds = time.perf_counter() - begin
    assert served.process.pid == pid
    check_kept(served, seats)
    quarter = len(meter.samples) // 4
    first, last = (
        float(np.mean(part)) for part in (meter.samples[:quarter], meter.samples[-quarter:])
    )
    assert last < 1.1 * first
    tell(
        f"{len(seats)} sessions x {calls} calls in {seconds:.0f} s, 0 errors, 0 mixed up,"
        f" {sum(seat.retried for seat in seats)} asked to come back; memory"
        f" {first / 2**20:.0f} MiB in the first quarter, {last / 2**20:.0f} in the last"
    )
