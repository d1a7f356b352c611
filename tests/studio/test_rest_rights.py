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
