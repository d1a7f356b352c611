"""Leases: who may work on an image, as a table of states; and that no two ever hold one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from time import sleep
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api import Api
from app.errors import Conflict, LeaseLost, NotFound
from app.leases import LEASE, is_held_against, is_live, refuses, released, taken
from app.records import Lease, State, Work
from app.together import Together
from tests.studio.conftest import HOST, NOW, Studio, make_app
from tests.studio.rest import error_of, put, to_body

PLACE = 7
LATER = NOW + LEASE  # the first moment at which a lease of NOW is over
STATES = {
    "free": None,
    "ann's": Lease(PLACE, "Ann", 3, NOW + LEASE),
    "ann's, over": Lease(PLACE, "Ann", 3, NOW),
    "bob's": Lease(PLACE, "Bob", 3, NOW + LEASE),
    "bob's, over": Lease(PLACE, "Bob", 3, NOW),
}


@pytest.mark.parametrize(
    ("state", "force", "person", "token"),
    [
        pytest.param("free", False, "Ann", 1, id="a free image is taken"),
        pytest.param("ann's", False, "Ann", 3, id="one's own is kept"),
        pytest.param("ann's, over", False, "Ann", 3, id="one's own is kept, late but unasked for"),
        pytest.param("bob's", False, "Bob", 3, id="another's stays"),
        pytest.param("bob's", True, "Ann", 4, id="a reviewer takes it over"),
        pytest.param("bob's, over", False, "Ann", 4, id="an abandoned one is taken"),
        pytest.param("ann's", True, "Ann", 3, id="one's own is not taken over"),
    ],
)
def test_who_holds_an_image_after_ann_asked(
    state: str, force: bool, person: str, token: int
) -> None:
    before = STATES[state]
    after = taken(before, PLACE, "Ann", NOW, force=force)
    assert (after.person, after.token) == (person, token)
    assert is_live(after, NOW)
    if person == "Ann":
        assert after.expires_at == LATER
    else:
        assert after == before


@pytest.mark.parametrize(
    ("state", "is_free"),
    [("ann's", True), ("ann's, over", True), ("bob's", False), ("bob's, over", True)],
)
def test_who_leaves_frees_only_what_is_theirs(state: str, is_free: bool) -> None:
    before = STATES[state]
    assert before is not None
    after = released(before, "Ann", NOW)
    assert is_live(after, NOW) != is_free
    assert (after.person, after.token) == (before.person, before.token)


@pytest.mark.parametrize(
    ("state", "token", "is_refused"),
    [
        pytest.param("free", 0, False, id="nobody ever worked there"),
        pytest.param("ann's", 0, False, id="it is hers, from another of her pages"),
        pytest.param("bob's", 0, True, id="she never had it"),
        pytest.param("bob's", 2, True, id="he took it after her"),
        pytest.param("bob's", 3, False, id="a token she cannot have is as new"),
        pytest.param("bob's, over", 2, False, id="he left: only versions decide"),
    ],
)
def test_whose_save_is_refused(state: str, token: int, is_refused: bool) -> None:
    assert refuses(STATES[state], "Ann", token, NOW) == is_refused


def test_whatever_happens_a_token_never_shrinks_and_has_one_person() -> None:
    for seed in range(50):
        random, lease, owners = Random(seed), None, dict[int, str]()
        now, highest = NOW, 0
        for _ in range(60):
            now += timedelta(seconds=random.uniform(0, 70))
            person = random.choice(["Ann", "Bob", "Cy"])
            if lease is not None and random.random() < 0.3:
                lease = released(lease, person, now)
            else:
                lease = taken(lease, PLACE, person, now, force=random.random() < 0.2)
            assert lease.token >= highest
            assert owners.setdefault(lease.token, lease.person) == lease.person
            highest = lease.token


# In the store


@pytest.mark.both
def test_a_lease_reads_back_and_a_second_person_waits_for_it(studio: Studio) -> None:
    store, image = studio.store, studio.images[0].id
    first = store.take_lease(image, "Ann", NOW)
    assert store.get_lease(image) == first
    assert store.take_lease(image, "Bob", NOW) == first
    assert store.list_leases(studio.project.id, NOW) == [first]
    assert store.list_leases(studio.project.id, LATER) == []
    store.release_lease(image, "Ann", NOW)
    assert store.take_lease(image, "Bob", NOW).token == first.token + 1
    with pytest.raises(NotFound):
        store.take_lease(99, "Ann", NOW)


@pytest.mark.both
def test_a_save_under_an_old_lease_is_refused_and_kept(studio: Studio) -> None:
    store, made = studio.store, studio.add()
    old = store.take_lease(made.image_id, "Ada", NOW)
    store.take_lease(made.image_id, "Bob", NOW, force=True)
    mine = replace(made.draft, state=State.ACCEPTED)
    work = Work(old.token, 4.5, 2)
    with pytest.raises(LeaseLost, match="Bob works on this image") as caught:
        store.save_instance(made.id, mine, made.version, "Ada", "brush", NOW, work)
    assert store.get_instance(made.id) == made
    kept = store.list_revisions(made.id)[-1]
    assert (kept.id, kept.is_conflict, kept.draft) == (caught.value.kept, True, mine)
    assert (kept.person, kept.seconds, kept.strokes) == ("Ada", 4.5, 2)
    saved = store.save_instance(made.id, mine, made.version, "Bob", "brush", NOW, Work(2))
    assert saved.version == made.version + 1


def test_what_is_no_work_at_the_canvas_asks_for_no_lease(studio: Studio) -> None:
    made = studio.add()
    studio.store.take_lease(made.image_id, "Bob", NOW)
    saved = studio.store.save_instance(made.id, made.draft, 1, "", "proposed again", NOW)
    assert saved.version == 2


@pytest.mark.both
def test_a_race_without_a_lease_is_a_conflict_as_before(studio: Studio) -> None:
    made = studio.add()
    studio.store.save_instance(made.id, made.draft, 1, "Bob", "brush", NOW, Work(0))
    with pytest.raises(Conflict) as caught:
        studio.store.save_instance(made.id, made.draft, 1, "Ada", "brush", NOW, Work(0))
    assert caught.type is Conflict


def contend(studio: Studio, people: int, turns: int, images: int) -> tuple[int, int]:
    """Let people race for images until each had `turns` leases; return how many there were, and
    how many of them two people held at once.

    Each notes in memory that they are in, and later that they are out; the notes know nothing of
    the leases they judge.
    """
    made = [studio.add(index % len(studio.images)) for index in range(images)]
    ids = sorted({instance.image_id for instance in made})
    inside: dict[int, set[str]] = {image_id: set() for image_id in ids}

    def annotate(name: str) -> tuple[int, int]:
        random, got, double = Random(name), 0, 0
        while got < turns:
            image_id = random.choice(ids)
            lease = studio.store.take_lease(image_id, name, NOW)
            if is_held_against(lease, name, NOW):
                sleep(0.01)
                continue
            inside[image_id].add(name)
            sleep(0.003)  # at work
            got, double = got + 1, double + (len(inside[image_id]) > 1)
            inside[image_id].discard(name)
            studio.store.release_lease(image_id, name, NOW)
        return got, double

    with ThreadPoolExecutor(people) as pool:
        counts = list(pool.map(annotate, [f"person {n}" for n in range(people)]))
    return sum(got for got, _ in counts), sum(double for _, double in counts)


@pytest.mark.soak
def test_no_image_ever_has_two_holders(studio: Studio, scale: Callable[[int, int], int]) -> None:
    people, turns = scale(4, 16), scale(6, 500)
    got, double = contend(studio, people, turns, images=3)
    print(f"{people} people, {got} leases, {double} held by two")  # noqa: T201 - for the soak
    assert got == people * turns
    assert double == 0


# Over the wire


@pytest.fixture
def here(client: TestClient, studio: Studio) -> Callable[..., dict[str, Any]]:
    """A page's sign of life: `here("Bob", wish="look")` on the first image."""

    def ask(person: str = "Ada", **body: object) -> dict[str, Any]:
        headers = {"x-mal-session": studio.sessions.mint(person)}
        sent = {"project_id": studio.project.id, "image_id": studio.images[0].id} | body
        answer = client.post("/mal/here", json=sent, headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return ask


Here = Callable[..., dict[str, Any]]


def test_the_second_page_learns_who_works_there(here: Here, studio: Studio) -> None:
    image = studio.images[0].id
    assert here("Ada")["lease"] == {"person": "Ada", "token": 1, "is_mine": True, "is_held": False}
    seen = here("Bob")
    assert seen["lease"] == {"person": "Ada", "token": 1, "is_mine": False, "is_held": True}
    assert seen["here"] == [{"person": "Ada", "image_id": image, "works": True}]
    assert here("Ada")["here"] == [{"person": "Bob", "image_id": image, "works": False}]


def test_two_pages_of_one_person_share_the_lease_and_see_nobody(here: Here) -> None:
    first, second = here("local"), here("local")
    assert first == second
    assert second["lease"]["is_mine"]
    assert second["here"] == []


@pytest.mark.both
def test_who_leaves_gives_the_image_back(here: Here, studio: Studio) -> None:
    here("Ada")
    here("Ada", image_id=studio.images[1].id, left=studio.images[0].id)
    assert here("Bob")["lease"]["is_mine"]
    assert [one["image_id"] for one in here("Bob")["here"]] == [studio.images[1].id]


def test_a_page_that_goes_away_is_here_no_more(here: Here) -> None:
    here("Ada")
    assert here("Ada", wish="leave")["lease"]["is_mine"] is False
    seen = here("Bob")
    assert (seen["lease"]["is_mine"], seen["here"]) == (True, [])


@pytest.mark.both
def test_looking_takes_nothing_and_taking_over_takes_it(here: Here) -> None:
    assert here("Bob", wish="look")["lease"] is None
    here("Ada")
    assert not here("Bob", wish="look")["lease"]["is_mine"]
    assert here("Bob", wish="take")["lease"] == {
        **{"person": "Bob", "token": 2, "is_mine": True, "is_held": False}
    }
    assert here("Ada")["lease"]["is_held"]


def test_a_page_learns_that_there_is_a_newer_comment(here: Here, studio: Studio) -> None:
    assert here()["newest_comment"] == 0
    made = studio.store.add_comment(studio.images[0].id, None, "Bob", "look", NOW)
    assert here()["newest_comment"] == made.id


def test_an_image_of_another_project_is_refused(client: TestClient, studio: Studio) -> None:
    other = studio.store.add_project("Other", studio.project.model_id, NOW)
    body = {"project_id": other.id, "image_id": studio.images[0].id}
    error_of(client.post("/mal/here", json=body), 422, "not_allowed")
    assert studio.store.get_lease(studio.images[0].id) is None


def test_a_save_carries_its_lease_and_what_it_took(client: TestClient, studio: Studio) -> None:
    made = studio.add()
    client.headers["x-mal-work"] = "lease=1; seconds=4.25; strokes=2"
    assert put(client, made, to_body(made)).status_code == 200
    last = studio.store.list_revisions(made.id)[-1]
    assert (last.seconds, last.strokes) == (4.25, 2)
    studio.store.take_lease(made.image_id, "Bob", datetime.now(NOW.tzinfo), force=True)
    studio.store.take_lease(made.image_id, "Cy", datetime.now(NOW.tzinfo), force=True)
    answer = put(client, made, to_body(made), version=2)
    error = error_of(answer, 409, "lease_lost")
    assert error["current"]["version"] == 2
    assert error["kept"] == studio.store.list_revisions(made.id)[-1].id
    path = f"/mal/annotations/{made.id}"
    error_of(client.delete(path, headers={"if-match": "2"}), 409, "lease_lost")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("lease", None, id="no value"),
        pytest.param("lease=-1; seconds=2", 2.0, id="one part wrong, the other right"),
        pytest.param("lease=1,5; seconds=nan", None, id="both wrong"),
        pytest.param("seconds=1e9", None, id="another way to write numbers"),
        pytest.param("seconds=1.3199999999999998", 1.3199999999999998, id="a sum of floats"),
        pytest.param("seconds=999999999", 24 * 3600.0, id="more than a day"),
        pytest.param("x=2; =; lease=1.5;;", None, id="nothing known"),
    ],
)
def test_no_save_is_refused_for_what_it_says_of_its_work(
    client: TestClient, studio: Studio, text: str, seconds: float | None
) -> None:
    made = studio.add()
    client.headers["x-mal-work"] = text
    assert put(client, made, to_body(made)).status_code == 200
    assert studio.store.list_revisions(made.id)[-1].seconds == seconds


def test_only_a_reviewer_takes_an_image_from_somebody_at_work(studio: Studio) -> None:
    api = Api(studio.workflow, studio.sessions)
    Together(api, studio.store, lambda: NOW, may_take=lambda caller, _: caller.person == "Rita")
    app = make_app(studio, api)
    body = {"project_id": studio.project.id, "image_id": studio.images[0].id, "wish": "take"}
    with TestClient(app, f"http://{HOST}") as page:
        got = []
        for person in ("Ada", "Bob", "Rita", "Ada"):
            headers = {"x-mal-session": studio.sessions.mint(person)}
            answer = page.post("/mal/here", json=body, headers=headers).json()
            got.append((answer["lease"]["person"], answer["may_take"]))
    assert got == [("Ada", False), ("Ada", False), ("Rita", True), ("Rita", False)]
