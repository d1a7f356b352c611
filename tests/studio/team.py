"""A studio with users: two projects, and somebody of every role in the first one."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.access import Caller
from app.accounts import LONGEST
from app.people import Login, Role, User
from app.records import (
    Category,
    Draft,
    Image,
    Instance,
    ModelState,
    ModelVersion,
    NewModel,
    Project,
    State,
    TakenImage,
)
from tests.studio.conftest import HOST, NOW, Studio, blob

BOX = (10.0, 20.0, 60.0, 90.0)

ROLES = {"Bob": Role.ANNOTATOR, "Rita": Role.REVIEWER, "Pat": Role.ADMIN}  # in the first project


@dataclass(frozen=True)
class Team:
    """The users, and what there is to be kept from Eve, who is admin of the second project."""

    studio: Studio
    users: dict[str, User]
    other: Project  # Eve's
    image: Image  # hers
    category: Category  # hers
    instance: Instance  # hers
    theirs: Instance  # of the first project, accepted by Pat
    model: ModelVersion  # of the first project

    def secret(self, name: str) -> str:
        """Log somebody in without a password; the secret of the cookie."""
        store, secret = self.studio.store, f"secret of {name}"
        hashed = hashlib.sha256(secret.encode()).hexdigest()
        if store.find_login(hashed) is None:
            user, now = self.users[name], datetime.now(UTC)
            store.add_login(user.id, hashed, "test", now, now + LONGEST)
        return secret

    def page(self, app: FastAPI, name: str) -> TestClient:
        """A browser in which somebody is logged in, with a page open."""
        opened = TestClient(app, f"http://{HOST}", raise_server_exceptions=False)
        opened.cookies.set(self.studio.sessions.cookie, self.secret(name))
        opened.headers["x-mal-session"] = self.studio.sessions.mint(name)
        return opened

    def caller(self, name: str) -> Caller:
        """Who asks from that browser."""
        found = self.studio.store.find_login(hashlib.sha256(self.secret(name).encode()).hexdigest())
        login: Login | None = None if found is None else found[0]
        return Caller(name, self.users[name], login)


def make_team(studio: Studio) -> Team:
    """Add users, a second project and what is in it, to a studio with one."""
    store = studio.store
    users = {
        name: store.add_user(name, "no hash at all", is_admin=False, now=NOW)
        for name in ("Ada", *ROLES, "Eve")  # Ada is the first, and so admin of the studio
    }
    for name, role in ROLES.items():
        store.set_role(studio.project.id, users[name].id, role)
    other = store.add_project("Eve's", studio.project.model_id, NOW)
    store.set_role(other.id, users["Eve"].id, Role.ADMIN)
    known = studio.images[0]
    taken = TakenImage(known.sha256, "e" * 64, known.extension, known.width, known.height, "e", "")
    image, _ = store.add_image(other.id, taken, NOW)
    category = store.add_category(other.id, "hers")
    draft = Draft(State.PROPOSED, category.id, BOX, blob(image))
    theirs = studio.draft(0, State.ACCEPTED)
    new = NewModel("theirs", "7" * 64, {}, studio.project.id, studio.project.model_id)
    return Team(
        studio,
        users,
        other,
        image,
        category,
        store.add_instance(image.id, draft, "Eve", "box", NOW),
        store.add_instance(known.id, theirs, "Pat", "edit", NOW),
        store.add_model(new, ModelState.PROMOTED, NOW),
    )
