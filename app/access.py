"""Who may do what: the table of rights by role, and the one check that reads it.

In a studio without users there is one person, who may do everything. With users, a thing of a
project that somebody has no role in does not exist for them: the answer is that of a thing that is
not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.errors import Forbidden
from app.people import Login, Role, User
from app.records import Project, State, Viewer
from app.store import Store, no_such

LOCAL_PERSON = "local"  # who works in a studio without users


class Right(StrEnum):
    """What can be allowed."""

    VIEW = "view"  # images, masks, comments, figures
    ANNOTATE = "annotate"  # propose, draw, correct, and judge one's own masks and proposals
    REVIEW = "review"  # change and judge what others finished, also many at once
    EXPORT = "export"  # take masks, images or weights away
    TRAIN = "train"  # start and stop jobs, choose models
    MANAGE = "manage"  # images, imports, categories, the project's name and members
    SERVE = "serve"  # projects and users of the whole studio


_ANNOTATOR = frozenset({Right.VIEW, Right.ANNOTATE})
_REVIEWER = _ANNOTATOR | {Right.REVIEW, Right.EXPORT}
RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.ANNOTATOR: _ANNOTATOR,
    Role.REVIEWER: _REVIEWER,
    Role.ADMIN: _REVIEWER | {Right.TRAIN, Right.MANAGE},
}


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        person: the name that revisions record.
        user: None for the one person of a studio without users.
        login: the browser's; None for a program with a token.
    """

    person: str
    user: User | None = None
    login: Login | None = None

    @property
    def is_admin(self) -> bool:
        """Whether everything in the studio is theirs to do."""
        return self.user is None or self.user.is_admin


LOCAL = Caller(LOCAL_PERSON)


class Access:
    """Answers who may do what; reads roles anew each time, so that a change counts at once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(self, caller: Caller, right: Right, kind: str, key: int) -> None:
        """Let through whoever may do this with a thing.

        Args:
            caller: who asks.
            right: what for.
            kind: project, category, image, instance, job or model_version.
            key: the thing's id.

        Raises:
            NotFound: there is no such thing, or not for them.
            Forbidden: they may see it, but not do this.
        """
        if caller.user is None:
            return
        project_id = self._store.project_of(kind, key)
        if project_id is None:  # a model that came with the studio
            if right not in (Right.VIEW, Right.EXPORT):
                self.check_studio(caller)
        elif not self.may(caller, Right.VIEW, project_id) or (
            kind == "instance" and not self._may_see(caller, project_id, key)
        ):
            raise no_such(kind, key)
        elif not self.may(caller, right, project_id):
            role = self._store.get_role(project_id, caller.user.id)
            raise Forbidden(f"as {role} of this project you may not {right} here: ask its admin")

    def check_studio(self, caller: Caller) -> None:
        """Let admins of the whole studio through.

        Raises:
            Forbidden: they are none.
        """
        if not caller.is_admin:
            raise Forbidden("only an admin of the studio may do that")

    def check_change(self, caller: Caller, instance_id: int, version: int) -> None:
        """Let an annotator change proposals and what is their own, and reviewers everything.

        A change of a version that is no longer the head passes: it will lose the race, and is kept.

        Args:
            caller: who may annotate here already.
            instance_id: what they want to change.
            version: the version they changed it from.

        Raises:
            NotFound: there is no such instance.
            Forbidden: somebody else finished it.
        """
        if caller.is_admin:
            return
        instance = self._store.get_instance(instance_id)
        is_free = instance.draft.state is State.PROPOSED or instance.person == caller.person
        project_id = self._store.project_of("instance", instance_id)
        if is_free or version != instance.version or self.may(caller, Right.REVIEW, project_id):
            return
        raise Forbidden(
            f"{instance.person} {instance.draft.state} this mask: only a reviewer changes it now;"
            " leave a comment instead"
        )

    def may(self, caller: Caller, right: Right, project_id: int | None) -> bool:
        """Whether somebody has a right in a project; None stands for the studio."""
        if caller.is_admin:
            return True
        if caller.user is None or project_id is None:
            return False
        role = self._store.get_role(project_id, caller.user.id)
        return role is not None and right in RIGHTS[role]

    def rights(self, caller: Caller, project_id: int | None) -> list[Right]:
        """All that somebody may do in a project, so that nothing else is offered to them."""
        return [right for right in Right if self.may(caller, right, project_id)]

    def may_review(self, caller: Caller, project_id: int) -> bool:
        """Whether somebody may take over what others work on."""
        return self.may(caller, Right.REVIEW, project_id)

    def viewer(self, caller: Caller, project_id: int) -> Viewer | None:
        """Somebody as one to whom what others annotate blind is sealed; None: they see all.

        Admins annotate, too: what is sealed to reviewers is sealed to them.
        """
        if caller.user is None:
            return None
        return Viewer(caller.person, self.may(caller, Right.REVIEW, project_id))

    def _may_see(self, caller: Caller, project_id: int, instance_id: int) -> bool:
        viewer = self.viewer(caller, project_id)
        return viewer is None or self._store.may_see(instance_id, viewer)

    def projects(self, caller: Caller) -> list[Project]:
        """The projects that somebody has a role in, oldest first."""
        projects = self._store.list_projects()
        if caller.user is None or caller.is_admin:
            return projects
        mine = {member.project_id for member in self._store.list_members(user_id=caller.user.id)}
        return [project for project in projects if project.id in mine]
