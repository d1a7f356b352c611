"""What of a page is there for whom: a part is marked with the right it needs, and hides without it.

The page says once what the person may not do in the open project; a style sheet hides what is
marked. This only spares people what would be refused: every handler checks for itself.
"""

from html import escape

import gradio as gr

from app.access import RIGHTS, Caller, Right
from app.pages.house import House
from app.pages.tables import note

GIVEN = [right for right in Right if any(right not in rights for rights in RIGHTS.values())]
CSS = "".join(
    f".gradio-container:has(.mal-not-{right}) .mal-needs-{right},"
    f" .gradio-container:not(:has(.mal-not-{right})) .mal-lacks-{right}"
    " { display: none !important; }\n"
    for right in GIVEN
)
"""Rules for the rights that not every role has."""


def needs(right: Right) -> str:
    """The class of a part that is there only for those who have a right."""
    return f"mal-needs-{right}"


def lacking(right: Right, text: str) -> gr.HTML:
    """A sentence in place of such a part, for the others."""
    return gr.HTML(note(text), elem_classes=f"mal-lacks-{right}")


def who_is(house: House, project_id: int | None) -> gr.HTML:
    """Who is logged in and as what, with the ways to their account and out.

    Nothing in a studio without users. The buttons are a form's: they work whatever else of the
    page does.
    """
    caller = house.caller()
    if caller.user is None:
        return gr.HTML(visible=False)
    rights = house.access.rights(caller, project_id)
    without = " ".join(f"mal-not-{right}" for right in GIVEN if right not in rights)
    role = _role(house, caller, project_id)
    return gr.HTML(
        f"<div class='mal-who {without}'><b title='Logged in'>{escape(caller.person)}</b>"
        + (f"<span title='Your role in this project'>{role}</span>" if role else "")
        + "<a href='/mal/account'>Account</a>"
        "<form method='post' action='/mal/logout'><button>Log out</button></form></div>",
        visible=True,
    )


def _role(house: House, caller: Caller, project_id: int | None) -> str:
    if caller.user is None or project_id is None:
        return ""
    role = house.store.get_role(project_id, caller.user.id)
    return "admin" if caller.is_admin else str(role or "")
