"""What the store keeps of users: names, roles, logins, tokens, and the audit log."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError

from app.errors import NotAllowed, NotFound
from app.people import Role, User
from app.records import ModelState, NewModel
from app.store import Store
from mal_core.errors import InputError
from tests.studio.conftest import NOW
from tests.studio.databases import raw

LATER = NOW + timedelta(hours=1)


@pytest.fixture
def store(one_place: Path | str) -> Iterator[Store]:
    opened = Store(one_place)
    yield opened
    opened.close()


@pytest.fixture
def ada(store: Store) -> User:
    return store.add_user("Ada", "hash of Ada", is_admin=False, now=NOW)


@pytest.fixture
def bob(store: Store, ada: User) -> User:
    return store.add_user("Bob", "hash of Bob", is_admin=False, now=NOW)


@pytest.fixture
def project(store: Store) -> int:
    model = store.add_model(NewModel("tiny", "0" * 64, {}), ModelState.BUNDLED, NOW)
    return store.add_project("Photos", model.id, NOW).id


def test_the_first_user_is_an_admin_and_the_next_is_not(ada: User, bob: User) -> None:
    assert (ada.is_admin, bob.is_admin) == (True, False)


def test_a_studio_knows_whether_anybody_must_log_in(store: Store) -> None:
    assert not store.has_users()
    store.add_user("Ada", "hash", is_admin=False, now=NOW)
    assert store.has_users()


@pytest.mark.parametrize("name", ["Ada", "ADA", " ada ", "\uff21da"])
def test_a_name_is_taken_whatever_its_case(store: Store, ada: User, name: str) -> None:
    with pytest.raises(InputError, match="choose another name"):
        store.add_user(name, "hash", is_admin=False, now=NOW)
    found = store.find_user(name)
    assert found == (ada, "hash of Ada")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 1000])
def test_a_name_is_one_short_line(store: Store, name: str) -> None:
    with pytest.raises(InputError):
        store.add_user(name, "hash", is_admin=False, now=NOW)


def test_nobody_is_found_by_a_name_nobody_has(store: Store, ada: User) -> None:
    assert store.find_user("Eve") is None


@pytest.mark.parametrize("change", [{"is_admin": False}, {"is_disabled": True}])
def test_the_last_admin_stays(store: Store, ada: User, bob: User, change: dict[str, bool]) -> None:
    with pytest.raises(NotAllowed, match="last admin"):
        store.set_user(ada.id, **change)
    assert store.get_user(ada.id) == ada
    store.set_user(bob.id, is_admin=True)
    store.set_user(ada.id, **change)
    with pytest.raises(NotAllowed, match="last admin"):
        store.set_user(bob.id, **change)


def test_a_disabled_admin_does_not_count_as_one(store: Store, ada: User, bob: User) -> None:
    store.set_user(bob.id, is_admin=True, is_disabled=True)
    with pytest.raises(NotAllowed, match="last admin"):
        store.set_user(ada.id, is_admin=False)
    assert store.set_user(bob.id, is_disabled=False) == replace(bob, is_admin=True)


def test_a_password_is_changed_for_one_user_only(store: Store, ada: User, bob: User) -> None:
    store.set_password(bob.id, "new")
    assert [store.find_user(name) for name in ("Ada", "Bob")] == [
        (ada, "hash of Ada"), (bob, "new")
    ]  # fmt: skip
    with pytest.raises(NotFound):
        store.set_password(99, "new")


def test_a_user_has_one_role_a_project(store: Store, ada: User, bob: User, project: int) -> None:
    assert store.get_role(project, bob.id) is None
    store.set_role(project, bob.id, Role.ANNOTATOR)
    store.set_role(project, bob.id, Role.REVIEWER)
    assert store.get_role(project, bob.id) is Role.REVIEWER
    assert [(m.user.name, m.role) for m in store.list_members(project)] == [("Bob", "reviewer")]
    assert store.list_members(user_id=ada.id) == []
    store.set_role(project, bob.id, None)
    assert store.list_members() == []


def test_a_role_is_of_somebody_in_something(store: Store, ada: User, project: int) -> None:
    for place, user in ((99, ada.id), (project, 99)):
        with pytest.raises(NotFound):
            store.set_role(place, user, Role.ADMIN)


def test_a_login_is_good_until_it_expires_or_is_revoked(store: Store, ada: User) -> None:
    login = store.add_login(ada.id, "secret", "127.0.0.1", NOW, LATER)
    assert store.find_login("secret") == (login, ada)
    assert store.find_login("other") is None
    assert (login.is_good(NOW), login.is_good(LATER)) == (True, False)
    store.revoke_login(login.id, NOW)
    found = store.find_login("secret")
    assert found is not None
    assert not found[0].is_good(NOW)


def test_a_revoked_login_keeps_the_time_of_its_end(store: Store, ada: User) -> None:
    login = store.add_login(ada.id, "secret", "", NOW, LATER)
    store.revoke_login(login.id, NOW)
    store.revoke_logins(ada.id, LATER)
    found = store.find_login("secret")
    assert found is not None
    assert found[0].revoked_at == NOW


def test_all_logins_of_one_user_end_but_the_one_in_hand(store: Store, ada: User, bob: User) -> None:
    mine = [store.add_login(ada.id, str(n), "", NOW, LATER) for n in range(3)]
    other = store.add_login(bob.id, "b", "", NOW, LATER)
    store.revoke_logins(ada.id, NOW, but=mine[1].id)
    assert {login.id for login in store.list_logins(NOW)} == {mine[1].id, other.id}
    store.revoke_logins(ada.id, NOW)
    assert store.list_logins(NOW, ada.id) == []
    assert store.list_logins(NOW) == [other]


def test_logins_that_are_over_are_not_listed_and_the_last_seen_comes_first(
    store: Store, ada: User
) -> None:
    first, second = (store.add_login(ada.id, str(n), "", NOW, LATER) for n in range(2))
    store.add_login(ada.id, "over", "", NOW, NOW)
    store.see_login(first.id, NOW + timedelta(minutes=1))
    assert [login.id for login in store.list_logins(NOW)] == [first.id, second.id]


def test_a_token_is_good_until_it_expires_or_is_revoked(store: Store, ada: User) -> None:
    for_ever = store.add_token(ada.id, "t1", "robot", NOW, None)
    for_an_hour = store.add_token(ada.id, "t2", "robot", NOW, LATER)
    assert store.find_token("t1") == (for_ever, ada)
    assert [t.is_good(LATER) for t in store.list_tokens(ada.id)] == [False, True]
    assert for_an_hour.is_good(NOW)
    store.revoke_token(for_ever.id, NOW)
    assert [t.is_good(NOW) for t in store.list_tokens(ada.id)] == [True, False]
    store.revoke_tokens(ada.id, NOW)
    assert not any(t.is_good(NOW) for t in store.list_tokens(ada.id))
    assert store.find_token("secret") is None


def test_the_log_reads_back_newest_first_and_by_what_one_asks_for(
    store: Store, project: int
) -> None:
    store.add_audit("Ada", "login", NOW)
    store.add_audit("Ada", "export", NOW, project_id=project, subject="coco", detail={"n": 3})
    store.add_audit("Bob", "login", LATER)
    acts = [(entry.person, entry.act) for entry in store.list_audit()]
    assert acts == [("Bob", "login"), ("Ada", "export"), ("Ada", "login")]
    (export,) = store.list_audit(project_id=project)
    assert (export.at, export.subject, export.detail) == (NOW, "coco", {"n": 3})
    assert len(store.list_audit(acts=["login"])) == 2
    assert len(store.list_audit(person="Ada")) == 2
    assert [e.person for e in store.list_audit(before=export.id)] == ["Ada"]
    assert [e.person for e in store.list_audit(limit=1)] == ["Bob"]


def test_a_line_stands_or_falls_with_its_act(store: Store) -> None:
    def act() -> None:
        with store.transaction():
            store.add_audit("Ada", "export", NOW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        act()
    assert store.list_audit() == []


@pytest.mark.parametrize("change", ["UPDATE audit SET act = 'nothing'", "DELETE FROM audit"])
def test_no_line_is_ever_changed_or_taken_out(
    store: Store, one_place: Path | str, change: str
) -> None:
    store.add_audit("Ada", "login", NOW)
    engine = raw(one_place)
    with engine.connect() as connection, pytest.raises(DatabaseError, match="append-only"):
        connection.exec_driver_sql(change)
    engine.dispose()
    assert [entry.act for entry in store.list_audit()] == ["login"]


def test_a_thing_belongs_to_its_project(store: Store, project: int) -> None:
    category = store.add_category(project, "cat")
    job = store.add_job(project, "fine-tune", {}, NOW)
    assert store.project_of("project", project) == project
    assert store.project_of("category", category.id) == project
    assert store.project_of("job", job.id) == project
    assert store.project_of("model_version", store.get_project(project).model_id) is None
    for kind in ("project", "category", "image", "instance", "job", "model_version"):
        with pytest.raises(NotFound, match=f"there is no {kind.replace('_', ' ')} 99"):
            store.project_of(kind, 99)
