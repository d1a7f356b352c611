"""The Admin page: members of a project for its admins, users and logins for those of the studio."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from app.access import Right
from app.errors import NotAllowed
from app.pages.house import QUIET, House, shown
from app.pages.rights import lacking, needs
from app.pages.tables import note, table
from app.people import Login, Member, Role, User

NO_ROLE = "none"
PARTS = 7
View = tuple[Any, ...]


class AdminPage:
    """Layout and handlers; only those who may do something here see the tab."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.Number, tab: gr.Tab) -> None:
        """Lay the page out and wire it; it is read anew whenever it is opened."""
        self._house = house
        self._project = project
        told = gr.HTML()
        gr.Markdown("## Members of this project")
        members = gr.HTML()
        lacking(Right.MANAGE, "Admins of this project give roles here.")
        with gr.Row(elem_classes=["mal-line", needs(Right.MANAGE)]):
            member = gr.Dropdown(label="Member", choices=[], scale=2, min_width=200)
            role = gr.Dropdown(
                label="Role", choices=[*map(str, Role), NO_ROLE], value=str(Role.ANNOTATOR),
                scale=2, min_width=160,
            )  # fmt: skip
            give = gr.Button("Set role", scale=1, min_width=120)
        with gr.Column(visible=False, elem_classes=needs(Right.SERVE)) as studio:
            gr.Markdown("## Users of the studio")
            users = gr.HTML()
            whom = gr.Dropdown(label="User", choices=[], min_width=200)
            self._view = [
                told,
                members,
                member,
                studio,
                users,
                logins := gr.HTML(render=False),
                whom,
            ]
            self._lay_acts(whom)
            self._lay_new()
            gr.Markdown("## Logged in")
            logins.render()
        for change in (project.change, tab.select):
            change(self.show, project, self._view, **QUIET)
        give.click(self.give, [project, member, role], self._view, queue=False)

    def _lay_acts(self, whom: gr.Dropdown) -> None:
        with gr.Row(elem_classes="mal-line"):
            for text, act in (
                ("Log out everywhere", self.log_out),
                ("Disable", self.disable),
                ("Enable", self.enable),
                ("Make admin", self.promote),
                ("Admin no more", self.demote),
            ):
                button = gr.Button(text, scale=1, min_width=130)
                button.click(act, [whom, self._project], self._view, queue=False)
        with gr.Row(elem_classes="mal-line"):
            password = _password("Another password for this user")
            change = gr.Button("Set password", scale=1, min_width=130)
        outputs = [*self._view, password]
        change.click(self.set_password, [whom, self._project, password], outputs, queue=False)

    def _lay_new(self) -> None:
        gr.Markdown("## Add a user")
        with gr.Row(elem_classes="mal-line"):
            name = gr.Textbox(label="Name of the user", max_lines=1, scale=2, min_width=160)
            password = _password("First password, 10 characters or more")
            is_admin = gr.Checkbox(label="Admin of the studio", scale=1, min_width=160)
            add = gr.Button("Add user", scale=1, min_width=120)
        inputs = [name, password, is_admin, self._project]
        add.click(self.add, inputs, [*self._view, name, password], queue=False)

    @shown(Right.VIEW, "project")
    def show(self, project_id: int | None) -> View:
        """Members and, for admins of the studio, users and logins."""
        return self._shown(project_id)

    @shown(Right.MANAGE, "project")
    def give(self, project_id: int, user_id: int | None, role: str) -> View:
        """Give somebody a role in the project, or take it away."""
        house = self._house
        wanted = None if role == NO_ROLE else Role(role)
        user_id = _chosen(user_id)
        house.accounts.set_role(project_id, user_id, wanted, house.caller().person)
        return self._shown(project_id, f"{house.store.get_user(user_id).name}: {role}.")

    @shown(Right.SERVE)
    def add(self, name: str, password: str, is_admin: bool, project_id: int | None) -> View:
        """Add a user; they get a role above."""
        house = self._house
        user = house.accounts.add_user(name, password, is_admin=is_admin, by=house.caller().person)
        return *self._shown(project_id, f"Added {user.name}. Give them a role above."), "", ""

    @shown(Right.SERVE)
    def log_out(self, user_id: int | None, project_id: int | None) -> View:
        """End all logins of a user."""
        return self._act(user_id, project_id, "logged out", self._house.accounts.revoke_logins)

    @shown(Right.SERVE)
    def disable(self, user_id: int | None, project_id: int | None) -> View:
        """Let a user in no more."""
        return self._change(user_id, project_id, "disabled", is_disabled=True)

    @shown(Right.SERVE)
    def enable(self, user_id: int | None, project_id: int | None) -> View:
        """Let a disabled user in again."""
        return self._change(user_id, project_id, "may log in again", is_disabled=False)

    @shown(Right.SERVE)
    def promote(self, user_id: int | None, project_id: int | None) -> View:
        """Make a user an admin of the studio."""
        return self._change(user_id, project_id, "admin of the studio", is_admin=True)

    @shown(Right.SERVE)
    def demote(self, user_id: int | None, project_id: int | None) -> View:
        """Let a user be no admin any more."""
        return self._change(user_id, project_id, "admin no more", is_admin=False)

    @shown(Right.SERVE)
    def set_password(self, user_id: int | None, project_id: int | None, password: str) -> View:
        """Give a user another password; they are logged out."""
        accounts = self._house.accounts

        def act(key: int, by: str) -> None:
            accounts.set_password(key, password, by)

        return *self._act(user_id, project_id, "other password, logged out", act), ""

    def _change(
        self, user_id: int | None, project_id: int | None, done: str, **change: bool
    ) -> View:
        accounts = self._house.accounts
        return self._act(
            user_id, project_id, done, lambda key, by: accounts.set_user(key, by, **change)
        )

    def _act(
        self,
        user_id: int | None,
        project_id: int | None,
        done: str,
        act: Callable[[int, str], object],
    ) -> View:
        key = _chosen(user_id)
        act(key, self._house.caller().person)
        return self._shown(project_id, f"{self._house.store.get_user(key).name}: {done}.")

    def _shown(self, project_id: int | None, told: str = "") -> View:
        if project_id is None:
            return (gr.skip(),) * PARTS
        store, caller = self._house.store, self._house.caller()
        if caller.user is None:  # a studio without users has no such page
            return (gr.skip(),) * PARTS
        users = store.list_users()
        names = [(user.name, user.id) for user in users]
        studio: View = (gr.Column(visible=False), "", "", gr.skip())
        if caller.is_admin:
            logins = self._house.accounts.list_logins()
            studio = (
                gr.Column(visible=True),
                users_table(users, store.list_members()),
                logins_table(logins, {user.id: user.name for user in users}),
                gr.Dropdown(choices=names),
            )
        members = members_table(store.list_members(project_id))
        return note(told) if told else "", members, gr.Dropdown(choices=names), *studio


def members_table(members: Sequence[Member]) -> str:
    """Who is what in a project."""
    rows = [[member.user.name, str(member.role), _state(member.user)] for member in members]
    return table(
        "Members", ("Member", "Role", "State"), rows, "Nobody has a role here yet: give some below."
    )


def users_table(users: Sequence[User], members: Sequence[Member]) -> str:
    """All users, and in how many projects each has a role."""
    rows = [
        [
            user.name,
            "admin" if user.is_admin else "",
            _state(user),
            str(sum(member.user.id == user.id for member in members)),
            f"{user.created_at:%Y-%m-%d}",
        ]
        for user in users
    ]
    return table("Users", ("User", "Studio", "State", "Projects", "Since"), rows, "No users.")


def logins_table(logins: Sequence[Login], names: Mapping[int, str]) -> str:
    """Who is logged in, from where, since when."""
    rows = [
        [names[login.user_id], login.address, f"{login.created_at:%Y-%m-%d %H:%M}",
         f"{login.seen_at:%Y-%m-%d %H:%M}"]
        for login in logins
    ]  # fmt: skip
    return table(
        "Logins", ("User", "Address", "Since (UTC)", "Last seen"), rows, "Nobody is logged in."
    )


def _state(user: User) -> str:
    return "disabled" if user.is_disabled else ""


def _password(label: str) -> gr.Textbox:
    return gr.Textbox(label=label, type="password", max_lines=1, scale=2, min_width=200)


def _chosen(user_id: int | None) -> int:
    if user_id is None:
        raise NotAllowed("choose a user first")
    return user_id
