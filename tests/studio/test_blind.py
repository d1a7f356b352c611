"""Two people annotate one image unseen by each other: what every route and handler tells whom."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from gradio.context import LocalContext

from app.access import Access, Caller
from app.accounts import Accounts
from app.api import Api
from app.assignments import Assignments
from app.batch import Batch
from app.chronicle import Chronicle
from app.errors import NotAllowed
from app.logbook import Logbook
from app.merging import Merging
from app.pages.house import NEEDS
from app.people import Role
from app.records import Instance, State
from tests.studio.conftest import NOW, Studio, blob, make_app
from tests.studio.houses import handlers, house, pages
from tests.studio.rest import error_of, put, to_body
from tests.studio.team import Team, make_team
from tests.studio.test_access import called_by

__all__ = ["handlers", "house", "pages"]  # fixtures


@pytest.fixture
def team(studio: Studio) -> Team:
    """Bob and Cora annotate the second image; Rita reviews; Dan annotates others."""
    made = make_team(studio)
    for name in ("Cora", "Dan"):
        made.users[name] = studio.store.add_user(name, "no hash", is_admin=False, now=NOW)
        studio.store.set_role(studio.project.id, made.users[name].id, Role.ANNOTATOR)
    return made


@pytest.fixture
def app(team: Team, api: Api) -> FastAPI:
    Logbook(api, Chronicle(team.studio.store, lambda: NOW), Merging(team.studio.store, lambda: NOW))
    return make_app(team.studio, api)


@pytest.fixture
def image(team: Team) -> int:
    key = team.studio.images[1].id
    team.studio.add(1)
    acts = Assignments(team.studio.store, lambda: NOW)
    for name in ("Bob", "Cora"):
        assert acts.assign(team.studio.project.id, [key], name, "Pat").given == 1
    return key


@pytest.fixture
def his(team: Team, image: int) -> Instance:
    """What Bob made of it."""
    studio = team.studio
    (one,) = studio.store.list_instances(image, viewer="Bob")
    draft = studio.draft(1, State.CORRECTED)
    rle = blob(studio.images[1], 100, 90, 33)
    body = type(draft)(**vars(draft) | {"rle": rle})
    saved = studio.store.save_instance(one.id, body, one.version, "Bob", "brush", NOW)
    studio.store.add_comment(image, saved.id, "Bob", "the left ear of Bob's", NOW)
    return saved


def tells(text: str, his: Instance, image: int) -> bool:
    """Whether an answer tells of his mask, or of what he says of it."""
    counts = his.draft.rle.counts if his.draft.rle else ""
    return counts in text or "left ear" in text or f'"id":{his.id},"image_id":{image}' in text


def answers(page: TestClient, his: Instance, image: int) -> Iterator[tuple[str, Any]]:
    """Everything that can be read, and every way in by his instance's id."""
    for path in (
        "/mal/projects/1",
        f"/mal/annotations/{image}",
        f"/mal/annotations/{image}?deleted=true",
        f"/mal/proposals/{image}",
        "/mal/queue/1",
        "/mal/queue/1?person=Bob",
        "/mal/queue/1?state=corrected",
        "/mal/accept/1?low=0",
        f"/mal/comments/{image}",
        "/mal/history/1",
        "/mal/history/1?person=Bob",
    ):
        yield path, page.get(path)
    here = {"project_id": 1, "image_id": image}
    yield "here", page.post("/mal/here", json=here)
    yield "take", page.post("/mal/here", json=here | {"wish": "take"})
    yield "put", put(page, his, to_body(his))
    yield "delete", page.delete(f"/mal/annotations/{his.id}", headers={"if-match": "1"})
    copy = to_body(his, image_id=image, request_id="x", from_id=his.id)
    yield "copy", page.post("/mal/annotations", json=copy | {"rle": None, "state": "proposed"})
    steer = {"image_id": image, "box": his.draft.box, "category_id": his.draft.category_id,
             "instance_id": his.id, "version": his.version}  # fmt: skip
    yield "propose", page.post("/mal/propose", json=steer)
    about = {"image_id": image, "instance_id": his.id, "text": "?"}
    yield "comment", page.post("/mal/comments", json=about)


@pytest.mark.parametrize("name", ["Cora", "Dan"])
def test_no_route_tells_an_annotator_of_another_one_s_masks(
    app: FastAPI, team: Team, his: Instance, image: int, name: str
) -> None:
    page = team.page(app, name)
    before = team.studio.store.list_revisions(his.id)
    for what, answer in answers(page, his, image):
        assert not tells(answer.text, his, image), what
        if what in ("put", "delete", "copy", "propose", "comment"):
            assert error_of(answer, 404, "not_found")["message"] == (
                f"there is no instance {his.id}"
            ), what
        elif "history" in what:
            assert "Bob" not in answer.text
        else:
            assert answer.is_success or "/accept/" in what, what
    assert team.studio.store.list_revisions(his.id) == before


def test_the_owner_finds_all_of_it(app: FastAPI, team: Team, his: Instance, image: int) -> None:
    told = [what for what, answer in answers(team.page(app, "Bob"), his, image)
            if tells(answer.text, his, image)]  # fmt: skip
    assert {f"/mal/annotations/{image}", f"/mal/comments/{image}", "put"} <= set(told)


def test_a_reviewer_reads_both_and_changes_neither(
    app: FastAPI, team: Team, his: Instance, image: int
) -> None:
    page = team.page(app, "Rita")
    assert "brush" in page.get("/mal/history/1?person=Bob").text
    assert "left ear" in page.get(f"/mal/comments/{image}").text
    assert not page.get(f"/mal/annotations/{image}").json()["annotations"]
    refused = error_of(put(page, his, to_body(his)), 422, "not_allowed")
    assert "Bob's own" in refused["message"]


def test_a_reviewer_who_is_one_of_two_sees_the_other_only_when_both_are_done(
    app: FastAPI, team: Team, his: Instance, image: int
) -> None:
    store = team.studio.store
    store.set_role(1, team.users["Cora"].id, Role.REVIEWER)
    page = team.page(app, "Cora")
    for what, answer in answers(page, his, image):
        assert not tells(answer.text, his, image), what
    assert page.post("/mal/done", json={"image_id": image, "is_done": True}).is_success
    assert "brush" not in page.get("/mal/history/1?person=Bob").text
    done = team.page(app, "Bob").post("/mal/done", json={"image_id": image, "is_done": True})
    assert [one["is_done"] for one in done.json()["assigned"]] == [True, True]
    assert "brush" in page.get("/mal/history/1?person=Bob").text


def test_an_admin_of_the_studio_who_annotates_is_blind_too(team: Team, his: Instance) -> None:
    access, store = Access(team.studio.store), team.studio.store
    ada = team.caller("Ada")
    viewer = access.viewer(ada, 1)
    assert viewer is not None
    assert store.may_see(his.id, viewer)
    store.assign(his.image_id, "Ada", "Pat", NOW)
    assert not store.may_see(his.id, viewer)


def test_both_work_at_once_and_others_only_look(
    app: FastAPI, team: Team, his: Instance, image: int
) -> None:
    here = {"project_id": 1, "image_id": image}
    for name in ("Bob", "Cora"):
        turn = team.page(app, name).post("/mal/here", json=here).json()
        assert turn["lease"]["is_mine"], name
        assert turn["notice"] == ""
    for name in ("Dan", "Rita"):
        turn = team.page(app, name).post("/mal/here", json=here | {"wish": "take"}).json()
        assert (turn["lease"]["is_held"], turn["may_take"]) == (True, False), name
        assert "Bob and Cora annotate this image" in turn["notice"]
        body = to_body(his, image_id=image, request_id="new")
        answer = team.page(app, name).post("/mal/annotations", json=body)
        assert "annotated blind" in error_of(answer, 422, "not_allowed")["message"]


def test_a_revision_of_a_layer_comes_back_only_for_all_and_after_merging(
    team: Team, his: Instance, image: int
) -> None:
    store, chronicle = team.studio.store, Chronicle(team.studio.store, lambda: NOW)
    number = store.list_revisions(his.id)[-1].id
    with pytest.raises(NotAllowed, match="restore it when it is merged"):
        chronicle.restore(number, "Rita")
    for name in ("Bob", "Cora"):
        store.set_done(image, name, NOW)
    store.merge(image, [], "Rita", "consensus x", "x", NOW)
    back = chronicle.restore(number, "Rita")
    assert (back.draft, back.person, back.version) == (his.draft, "Rita", 1)
    assert back.id != his.id
    assert store.list_instances(image) == [back]


def test_an_image_that_is_one_person_s_is_to_be_looked_at_only_until_they_are_done(
    app: FastAPI, team: Team
) -> None:
    key = team.studio.images[2].id
    team.studio.store.assign(key, "Cora", "Pat", NOW)

    def turn(name: str) -> dict[str, Any]:
        body = {"project_id": 1, "image_id": key}
        return dict(team.page(app, name).post("/mal/here", json=body).json())

    seen = turn("Bob")
    assert (seen["lease"]["is_held"], seen["notice"]) == (
        True, "This image is for Cora. You can look and comment.",
    )  # fmt: skip
    assert turn("Rita")["lease"]["is_mine"]  # a reviewer may
    team.studio.store.release_lease(key, "Rita", NOW)
    page = team.page(app, "Cora")
    told = page.post("/mal/done", json={"image_id": key, "is_done": True}).json()
    assert told == {"assigned": [{"person": "Cora", "is_done": True}]}
    assert turn("Bob")["lease"]["is_mine"]
    error_of(
        team.page(app, "Bob").post("/mal/done", json={"image_id": key, "is_done": True}),
        422,
        "not_allowed",
    )


def test_who_was_at_work_when_it_was_given_to_another_goes_on(app: FastAPI, team: Team) -> None:
    key = team.studio.images[2].id
    page, body = team.page(app, "Bob"), {"project_id": 1, "image_id": key}
    assert page.post("/mal/here", json=body).json()["lease"]["is_mine"]
    team.studio.store.assign(key, "Cora", "Pat", NOW)
    assert page.post("/mal/here", json=body).json()["lease"]["is_mine"]


def test_the_queue_of_mine_holds_what_is_mine_and_left(app: FastAPI, team: Team) -> None:
    studio, page = team.studio, team.page(app, "Cora")
    added = [studio.add(1), studio.add(2)]
    studio.store.assign(added[1].image_id, "Cora", "Pat", NOW)

    def queue() -> list[int]:
        found = page.get("/mal/queue/1?mine=true").json()["images"]
        return [one["id"] for one in found]

    assert queue() == [added[1].image_id]
    shown = page.get("/mal/projects/1").json()["images"]
    assert [one["assigned"] for one in shown][2] == [{"person": "Cora", "is_done": False}]
    page.post("/mal/done", json={"image_id": added[1].image_id, "is_done": True})
    assert queue() == []


# The use cases


@pytest.fixture
def acts(team: Team) -> Assignments:
    return Assignments(team.studio.store, lambda: NOW)


def audit_of(team: Team) -> list[tuple[str, str, str, int]]:
    return [(e.person, e.act, e.subject, e.detail["count"])
            for e in team.studio.store.list_audit(limit=9) if "assign" in e.act
            or "withdraw" in e.act]  # fmt: skip


def test_what_is_dealt_is_what_is_free_and_stands_in_the_audit_log(
    team: Team, acts: Assignments
) -> None:
    first = team.studio.images[0].id
    assert acts.assign(1, [first], "Dan", "Rita").given == 1
    done = acts.distribute(1, ["Bob", "Cora"], 0.5, "Rita")
    assert (done.given, done.refused) == (3, [])
    assert [blind.people for blind in team.studio.store.list_blind(1)] == [("Bob", "Cora")]
    assert audit_of(team) == [("Rita", "assign", "Cora", 1), ("Rita", "assign", "Bob", 2),
                              ("Rita", "assign", "Dan", 1)]  # fmt: skip
    assert acts.distribute(1, ["Bob"], 0, "Rita").given == 0
    assert acts.withdraw(1, [first], "Dan", "Pat").given == 1
    assert audit_of(team)[0] == ("Pat", "withdraw", "Dan", 1)


def test_what_cannot_be_given_is_told_and_the_rest_is_given(team: Team, acts: Assignments) -> None:
    keys = [one.id for one in team.studio.images]
    acts.assign(1, keys, "Bob", "Rita")
    done = acts.assign(1, keys, "Cora", "Rita")  # Pat accepted a mask of the first
    assert done.given == 2
    assert len(done.refused) == 1
    assert re.match(r"coffee\.png: somebody has judged", done.refused[0])


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda a, t: a.assign(1, [t.studio.images[0].id], "Eve", "R"), id="no role"),
        pytest.param(lambda a, t: a.assign(1, [t.image.id], "Bob", "R"), id="another project's"),
        pytest.param(lambda a, t: a.withdraw(1, [t.image.id], "Bob", "R"), id="taken elsewhere"),
        pytest.param(lambda a, _: a.distribute(1, [], 0, "R"), id="to nobody"),
        pytest.param(lambda a, _: a.distribute(1, ["Bob"], 1.5, "R"), id="more than all"),
    ],
)
def test_bad_wishes_change_nothing(
    team: Team, acts: Assignments, act: Callable[[Assignments, Team], object]
) -> None:
    with pytest.raises(Exception, match=r"has no role|there is no image|choose who|must be 0 to 1"):
        act(acts, team)
    assert team.studio.store.list_assignments(1) == []


def test_who_is_disabled_gets_no_image(team: Team, acts: Assignments) -> None:
    assert acts.people(1) == ["Bob", "Cora", "Dan", "Pat", "Rita"]
    Accounts(team.studio.store).set_user(team.users["Dan"].id, "Ada", is_disabled=True)
    assert "Dan" not in acts.people(1)


def test_one_person_alone_meets_none_of_it(studio: Studio) -> None:
    assert Access(studio.store).viewer(Caller("local"), 1) is None
    assert studio.store.list_assignments(1) == []


def test_an_export_holds_nothing_that_is_not_merged_and_says_so(
    team: Team, his: Instance, image: int
) -> None:
    library, intake = team.studio.library()
    with intake:
        done = library.export(1, "coco", include_proposals=True, include_images=False)
        assert done.n_annotations == 1  # Pat's, of another image
        (line,) = done.left_out
        assert line.startswith("chelsea.png is annotated blind by Bob and Cora and not merged")
        for name in ("Bob", "Cora"):
            team.studio.store.set_done(image, name, NOW)
        team.studio.store.merge(image, [his.draft], "Rita", "consensus x", "x", NOW)
        done = library.export(1, "coco", include_proposals=True, include_images=False)
        assert (done.n_annotations, done.left_out) == (2, [])


def test_what_two_drew_is_compared_in_its_own_project_only(handlers: list[Any], team: Team) -> None:
    store, asked = team.studio.store, 0
    store.set_role(1, team.users["Rita"].id, Role.ANNOTATOR)
    store.set_role(team.other.id, team.users["Rita"].id, Role.REVIEWER)
    for name in ("Bob", "Pat"):
        store.assign(team.studio.images[1].id, name, "Ada", NOW)
    for handler in handlers:
        _, kinds = getattr(handler, NEEDS)
        if kinds != ("project", "image") or handler.__name__ == "show":
            continue
        key = team.studio.images[1].id
        extra = ["{}"] * (handler.__name__ == "merge")
        told = called_by(team.caller("Rita"), handler, team.other.id, key, *extra)
        assert told == f"there is no image {key}", handler
        assert "you may not" in called_by(team.caller("Rita"), handler, 1, key, *extra), handler
        asked += 1
    assert asked >= 4


def test_boxes_that_both_have_get_their_masks_in_the_background(team: Team) -> None:
    studio = team.studio
    key = studio.add(1, masked=False).image_id
    batch = Batch(studio.settings, studio.store, studio.workflow)
    for name in ("Bob", "Cora"):
        studio.store.assign(key, name, "Pat", NOW)
    found = list(batch.find(1))
    assert len(found) == 2
    assert batch.do(found[0].id)
    assert [one.id for one in batch.find(1)] == [found[1].id]
    for name in ("Bob", "Cora"):
        studio.store.set_done(key, name, NOW)
    assert list(batch.find(1)) == []
    batch.close()


def test_the_history_page_and_its_filter_are_sealed_too(
    handlers: list[Any], team: Team, his: Instance
) -> None:
    show, *_ = [one for one in handlers if one.__qualname__ == "HistoryPage.show"]
    for name, sees in (("Cora", False), ("Dan", False), ("Bob", True), ("Rita", True)):
        scope = {"type": "http", "state": {"caller": team.caller(name)}}
        LocalContext.request.set(gr.Request(request=Request(scope)))
        try:
            lines = show(1, "*", "*", None, "", None, False)[0]
        finally:
            LocalContext.request.set(None)
        assert ("brush" in lines) == sees, name
