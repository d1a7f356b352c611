"""The routes for programs: whose token does what, and what it does not even see."""

from collections.abc import Iterator

import pytest

from app.errors import Forbidden, LoginNeeded, NotFound
from app.people import Role
from app.records import State
from tests.studio.conftest import NOW, Studio
from tests.studio.programs import Door, opened

BOX = (10.0, 20.0, 60.0, 90.0)


@pytest.fixture
def door(studio: Studio) -> Iterator[Door]:
    with opened(studio) as made:
        yield made


@pytest.fixture
def image(studio: Studio) -> int:
    return studio.images[0].id


@pytest.fixture
def thing(studio: Studio) -> int:
    return studio.categories[0].id


def test_without_a_token_nobody_comes_in_once_there_are_users(door: Door) -> None:
    door.token("Ada", is_admin=True)
    for token in ("", "mal_forged", "Bearer"):
        with pytest.raises(LoginNeeded):
            door.client(token).projects()


def test_a_stranger_sees_no_project_and_no_thing_of_it(
    door: Door, studio: Studio, image: int, thing: int
) -> None:
    instance = studio.add()
    door.token("Ada", is_admin=True)
    stranger = door.client(door.token("Eve"))
    assert stranger.projects() == []
    for look in (
        lambda: stranger.images(studio.project.id),
        lambda: stranger.instances(image),
        lambda: stranger.instance(instance.id),
        lambda: stranger.add_boxes(image, [(BOX, thing)]),
        lambda: stranger.propose_all(studio.project.id),
    ):
        with pytest.raises(NotFound):
            look()
    with pytest.raises(Forbidden):
        stranger.add_project("hers")


def test_a_category_of_a_project_that_one_may_not_see_is_not_there(
    door: Door, studio: Studio, image: int
) -> None:
    other = studio.store.add_project("Other", studio.project.model_id, NOW)
    hidden = studio.store.add_category(other.id, "hidden").id
    door.token("Ada", is_admin=True)
    annotator = door.client(door.token("Bo", Role.ANNOTATOR))
    with pytest.raises(NotFound):
        annotator.add_boxes(image, [(BOX, hidden)])
    with pytest.raises(NotFound):
        annotator.propose(image, BOX, hidden)


def test_what_is_done_stands_under_the_name_of_the_tokens_user(
    door: Door, image: int, thing: int
) -> None:
    door.token("Ada", is_admin=True)
    annotator = door.client(door.token("Bo", Role.ANNOTATOR))
    (made,) = annotator.add_boxes(image, [(BOX, thing)])
    assert made.person == "Bo"


def test_an_annotator_does_not_judge_what_a_reviewer_finished(door: Door, studio: Studio) -> None:
    door.token("Ada", is_admin=True)
    annotator = door.client(door.token("Bo", Role.ANNOTATOR))
    finished = annotator.instance(studio.add(0, State.ACCEPTED).id)
    with pytest.raises(Forbidden, match="only a reviewer"):
        annotator.review(finished, "reject")


def test_no_other_site_makes_a_browser_act(door: Door, image: int, thing: int) -> None:
    body = {"boxes": [{"box": BOX, "category_id": thing}]}
    origin = {"Origin": "http://evil.example"}
    answer = door.http.post(f"/mal/v1/images/{image}/boxes", json=body, headers=origin)
    assert answer.status_code == 403


def test_images_are_dealt_done_and_compared(door: Door, studio: Studio) -> None:
    door.token("Ada", is_admin=True)
    rita = door.client(door.token("Rita", Role.REVIEWER))
    people = {name: door.client(door.token(name, Role.ANNOTATOR)) for name in ("Ann", "Bob")}
    project, keys = studio.project.id, [image.id for image in studio.images]
    with pytest.raises(Forbidden):
        people["Ann"].deal(project, ["Ann"])
    assert rita.deal(project, ["Ann", "Bob"], share=0.34).given == 4
    (shared,) = [key for key in keys
                 if sum(one.image_id == key for one in rita.assignments(project)) == 2]  # fmt: skip
    assert rita.agreement(project) == []
    mask = studio.draft(keys.index(shared))
    for client in people.values():
        (made,) = client.add_boxes(shared, [(BOX, mask.category_id)])
        client.save(made, mask=mask.rle)
        assert [one.id for one in client.instances(shared)] == [made.id]
        client.done(shared)
    hers, his = (client.instances(shared)[0] for client in people.values())
    ann = people["Ann"]
    for act in (
        lambda: ann.instance(his.id),
        lambda: ann.save(his, state=State.ACCEPTED),
        lambda: ann.review(his, "accept", "seen"),
        lambda: ann.propose_again(his),
    ):
        with pytest.raises(NotFound, match=f"no instance {his.id}"):
            act()
    assert people["Bob"].instances(shared) == [his]
    assert rita.instance(hers.id).person == "Ann"
    assert rita.instances(shared) == []
    (pair,) = rita.agreement(project)
    assert (pair.first, pair.second, pair.matched, pair.iou) == ("Ann", "Bob", 1, 1.0)
    with pytest.raises(Forbidden):
        people["Ann"].agreement(project)
    mine = [one.image_id for one in rita.assignments(project) if one.person == "Ann"]
    assert rita.withdraw(project, mine, "Ann").given == len(mine)
    assert rita.assign(project, [shared], "Ann").refused  # somebody judged masks there


def test_nobody_is_given_an_image_of_another_project(door: Door, studio: Studio) -> None:
    other = studio.store.add_project("Other", studio.project.model_id, NOW)
    door.token("Ada", is_admin=True)
    rita = door.client(door.token("Rita", Role.REVIEWER))
    studio.store.set_role(other.id, studio.store.list_users()[1].id, Role.REVIEWER)
    with pytest.raises(NotFound, match="no image"):
        rita.assign(other.id, [studio.images[0].id], "Rita")
    with pytest.raises(NotFound, match="no image"):
        rita.withdraw(other.id, [studio.images[0].id], "Rita")
