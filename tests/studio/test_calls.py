"""The client's way to a studio: what it asks again, what it raises, what it writes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.calls import LONGEST_PAUSE, PAUSE_SECONDS, TRIES
from app.client import Client
from app.errors import (
    Busy,
    Conflict,
    Forbidden,
    JobFailed,
    LeaseLost,
    LockedOut,
    LoginNeeded,
    NotFound,
    StudioError,
    TooLarge,
    Unreachable,
)
from app.records import State
from app.wire import Instance
from mal_core.errors import BadDataset, InputError, MALError

PROJECT = {"id": 3, "name": "Cups", "model_id": 1, "created_at": "2026-11-25T10:00:00Z"}
JOB = {
    "id": 5, "project_id": 3, "kind": "fine-tune", "state": "running", "wish": "go",
    "progress": {}, "result": {}, "error": "", "created_at": "2026-11-25T10:00:00Z",
    "ended_at": None,
}  # fmt: skip
SEEN = Instance(
    id=9, image_id=2, number=1, version=4, state=State.PROPOSED, category_id=1,
    box=(0.0, 0.0, 4.0, 4.0), rle=None, score=None, flagged=False, model_id=None, person="ada",
    reason="box", saved_at="2026-11-25T10:00:00Z",
)  # fmt: skip
Answer = httpx.Response | Exception


class Studio:
    """Answers as it is told, one after the other; the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = [*answers]
        self.asked: list[httpx.Request] = []
        self.slept: list[float] = []

    def client(self, token: str = "mal_secret") -> Client:
        transport = httpx.MockTransport(self._answer)
        return Client("http://studio/", token, sleep=self.slept.append, transport=transport)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def refusal(
    status: int, code: str, headers: dict[str, str] | None = None, **more: object
) -> Answer:
    body = {"error": {"code": code, "message": "in words", **more}}
    return httpx.Response(status, json=body, headers=headers)


def found(body: object = PROJECT, status: int = 200) -> Answer:
    return httpx.Response(status, json=body)


LOST = httpx.ReadError("cut")  # sent, and perhaps done
CLOSED = httpx.ConnectError("refused")  # never sent
READS = pytest.param(lambda c: c.projects(), {"projects": []}, id="read")
BOXES = pytest.param(
    lambda c: c.add_boxes(2, [((0, 0, 4, 4), 1)]), {"instances": []}, id="boxes, by request id"
)
MAKES = pytest.param(lambda c: c.add_project("Cups"), PROJECT, id="make")
TRAINS = pytest.param(lambda c: c.train(3), JOB, id="train")
SAVES = pytest.param(
    lambda c: c.save(SEEN, state=State.PROPOSED), SEEN.model_dump(mode="json"), id="save"
)
Act = Callable[[Client], Any]


def test_a_request_bears_the_token_and_goes_below_the_url() -> None:
    studio = Studio(found({"projects": [PROJECT]}))
    projects = studio.client().projects()
    assert [project.name for project in projects] == ["Cups"]
    (asked,) = studio.asked
    assert str(asked.url) == "http://studio/mal/v1/projects"
    assert asked.headers["authorization"] == "Bearer mal_secret"


def test_without_users_no_token_is_sent() -> None:
    studio = Studio(found({"projects": []}))
    studio.client(token="").projects()
    assert "authorization" not in studio.asked[0].headers


@pytest.mark.parametrize("before", [refusal(503, "stopping"), refusal(429, "busy"), CLOSED])
@pytest.mark.parametrize(("act", "body"), [READS, BOXES, MAKES, TRAINS, SAVES])
def test_what_was_not_done_is_asked_again(act: Act, body: object, before: Answer) -> None:
    studio = Studio(before, found(body))
    act(studio.client())
    assert len(studio.asked) == 2


@pytest.mark.parametrize(("act", "body"), [READS, BOXES])
def test_what_may_be_done_twice_is_asked_again_when_the_answer_is_lost(
    act: Act, body: object
) -> None:
    studio = Studio(LOST, found(body))
    act(studio.client())
    first, second = (asked.content for asked in studio.asked)
    assert first == second, "the same request id: the studio knows it again"


@pytest.mark.parametrize(("act", "body"), [MAKES, TRAINS, SAVES])
def test_what_may_not_be_done_twice_is_not_asked_again_when_the_answer_is_lost(
    act: Act, body: object
) -> None:
    studio = Studio(LOST, found(body))
    with pytest.raises(Unreachable, match="no answer: cut"):
        act(studio.client())
    assert len(studio.asked) == 1


def test_two_calls_have_two_request_ids() -> None:
    studio = Studio(found({"instances": []}))
    for _ in range(2):
        studio.client().add_boxes(2, [((0, 0, 4, 4), 1)])
    assert len({json.loads(asked.content)["request_id"] for asked in studio.asked}) == 2


def test_it_waits_longer_each_time_and_gives_up_with_what_the_studio_said() -> None:
    studio = Studio(refusal(429, "busy"))
    with pytest.raises(Busy, match="in words"):
        studio.client().projects()
    assert len(studio.asked) == TRIES
    assert studio.slept == [PAUSE_SECONDS * 2**n for n in range(TRIES - 1)]


@pytest.mark.parametrize(("wanted", "slept"), [("3", 3.0), ("9999", LONGEST_PAUSE), ("soon", 0.5)])
def test_it_waits_as_long_as_the_studio_asks_within_reason(wanted: str, slept: float) -> None:
    studio = Studio(refusal(503, "stopping", {"Retry-After": wanted}), found({"projects": []}))
    studio.client().projects()
    assert studio.slept == [slept]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(refusal(401, "login"), LoginNeeded, id="no token"),
        pytest.param(refusal(403, "forbidden"), Forbidden, id="not yours"),
        pytest.param(refusal(404, "not_found"), NotFound, id="nothing there"),
        pytest.param(refusal(409, "conflict", kept=8), Conflict, id="race"),
        pytest.param(refusal(409, "lease_lost", kept=8), LeaseLost, id="lease"),
        pytest.param(refusal(413, "too_large"), TooLarge, id="too large"),
        pytest.param(refusal(422, "bad_input"), InputError, id="input"),
        pytest.param(refusal(422, "bad_request"), InputError, id="shape"),
        pytest.param(refusal(422, "bad_input", problems=["a", "b"]), BadDataset, id="data set"),
        pytest.param(refusal(500, "internal"), StudioError, id="their fault"),
        pytest.param(refusal(418, "of a later version"), StudioError, id="unknown"),
        pytest.param(httpx.Response(502, text="<html>"), Unreachable, id="a proxy's page"),
        pytest.param(httpx.Response(200, text="hello"), Unreachable, id="another server"),
        pytest.param(found({"projects": [{"id": "x"}]}), Unreachable, id="another version"),
    ],
)
def test_a_refusal_is_raised_as_the_error_that_it_is_there(
    answer: Answer, kind: type[MALError]
) -> None:
    with pytest.raises(MALError) as caught:
        Studio(answer).client().projects()
    assert type(caught.value) is kind


def test_the_facts_of_an_error_come_along() -> None:
    with pytest.raises(Conflict) as race:
        Studio(refusal(409, "conflict", kept=8)).client().review(SEEN, "accept")
    assert race.value.kept == 8
    with pytest.raises(BadDataset) as bad:
        Studio(refusal(422, "bad_input", problems=["a", "b"])).client().projects()
    assert bad.value.problems == ["a", "b"]
    with pytest.raises(LockedOut) as locked:
        Studio(refusal(403, "locked_out", seconds=90)).client().projects()
    assert locked.value.seconds == 90


def test_a_change_says_which_version_it_was_made_from() -> None:
    studio = Studio(found(SEEN.model_dump(mode="json")))
    studio.client().review(SEEN, "flag", "the rim is missing")
    (asked,) = studio.asked
    assert (asked.method, asked.url.path) == ("POST", "/mal/v1/instances/9/review")
    assert asked.headers["if-match"] == "4"


def test_a_file_is_sent_with_its_length_and_again_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "naïve photo.jpg").write_bytes(b"bytes")
    body = {"images": [], "added": 0, "problems": []}
    studio = Studio(refusal(503, "stopping"), LOST, found(body))
    studio.client().upload(3, tmp_path / "naïve photo.jpg")
    assert [asked.content for asked in studio.asked] == [b"bytes"] * 3
    assert {asked.headers["content-length"] for asked in studio.asked} == {"5"}
    assert studio.asked[0].url.params["file_name"] == "naïve photo.jpg"


def test_waiting_tells_where_the_job_is_and_ends_with_it() -> None:
    done = JOB | {"state": "done", "ended_at": "2026-11-25T10:00:09Z"}
    studio, states = Studio(found(JOB), found(JOB), found(done)), list[str]()
    studio.client().wait(5, lambda job: states.append(job.state), every=2.0)
    assert states == ["running", "running", "done"]
    assert studio.slept == [2.0, 2.0]


@pytest.mark.parametrize(
    ("state", "error", "text"), [("failed", "no memory", "no memory"), ("stopped", "", "stopped")]
)
def test_a_job_that_came_to_nothing_is_an_error(state: str, error: str, text: str) -> None:
    ended = JOB | {"state": state, "error": error, "ended_at": "2026-11-25T10:00:09Z"}
    with pytest.raises(JobFailed, match=text):
        Studio(found(ended)).client().wait(5)


def test_waiting_has_an_end() -> None:
    with pytest.raises(Unreachable, match="not ended"):
        Studio(found(JOB)).client().wait(5, longest=0.0)


EXPORT = {
    "name": "project-3-coco-x.zip", "format": "coco", "n_images": 1, "n_categories": 1,
    "n_annotations": 1, "n_compared": 1, "n_exact": 1, "min_iou": 1.0, "mean_iou": 1.0,
    "loses": "", "changed": [], "left_out": [],
}  # fmt: skip


def test_an_export_comes_whole(tmp_path: Path) -> None:
    Studio(found(EXPORT), httpx.Response(200, content=b"zip")).client().export(
        3, tmp_path / "cups.zip"
    )
    assert (tmp_path / "cups.zip").read_bytes() == b"zip"


@pytest.mark.parametrize("answer", [LOST, refusal(404, "not_found")])
def test_an_export_that_does_not_come_leaves_what_was_there(tmp_path: Path, answer: Answer) -> None:
    (tmp_path / "cups.zip").write_bytes(b"old")
    with pytest.raises(MALError):
        Studio(found(EXPORT), answer).client().export(3, tmp_path / "cups.zip")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("cups.zip", b"old")]


def test_the_client_needs_no_part_of_the_studio() -> None:
    heavy = ("torch", "gradio", "fastapi", "starlette", "sqlalchemy", "skimage", "app.settings")
    script = f"import sys, app.client; print([m for m in {heavy} if m in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert told.stdout == "[]\n"
