"""The pages of logging in and of one's account: plain HTML that needs no script."""

import base64
import hashlib
from collections.abc import Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ground: #f1f5f9; --card: #fff; --text: #0f172a;
  --quiet: #475569; --line: #64748b; --act: #2563eb; --act-text: #fff; --bad: #b91c1c;
  --bad-ground: #fef2f2; --good: #15803d; }
@media (prefers-color-scheme: dark) { :root { --ground: #0b1120; --card: #16202f; --text: #f1f5f9;
  --quiet: #a3b1c4; --line: #7c8799; --act: #2563eb; --bad: #fca5a5; --bad-ground: #3b1518;
  --good: #86efac; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px 16px;
  background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, -apple-system,
  "Segoe UI", Roboto, sans-serif; }
main { width: 100%; max-width: 380px; background: var(--card); border-radius: 8px; padding: 28px;
  box-shadow: 0 1px 3px rgb(0 0 0 / 25%); }
h1 { font-size: 20px; margin: 0 0 4px; }
h2 { font-size: 16px; margin: 28px 0 0; }
p { margin: 4px 0; color: var(--quiet); }
label { display: block; margin: 16px 0 4px; font-weight: 600; font-size: 14px; }
input { width: 100%; padding: 9px 10px; font: inherit; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: 4px; }
button { margin-top: 20px; width: 100%; padding: 10px; font: inherit; font-weight: 600;
  border: 1px solid var(--act); border-radius: 4px; background: var(--act); color: var(--act-text);
  cursor: pointer; }
button.quiet { background: transparent; color: inherit; border-color: var(--line);
  margin-top: 12px; font-weight: 400; }
:focus-visible { outline: 2px solid var(--act); outline-offset: 2px; }
.told { margin: 16px 0 0; padding: 8px 12px; border-left: 4px solid var(--good);
  color: var(--text); overflow-wrap: anywhere; }
.told.bad { border-color: var(--bad); background: var(--bad-ground); }
a { color: inherit; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
"""What a browser may do on these pages: show them, and send their forms back."""
NAME_MAX, PASSWORD_MAX = 200, 1000


def login_page(name: str = "", error: str = "", onward: str = "/") -> str:
    """Name and password.

    Args:
        name: what was typed before.
        error: what was wrong with it; "" for nothing.
        onward: where to go from here.
    """
    described = ' aria-describedby="told" aria-invalid="true"' if error else ""
    return _page(
        "Log in",
        f"""<p>Log in to go on.</p>{_told(error, good=False)}
<form method="post" action="/mal/login">
<input type="hidden" name="next" value="{escape(onward)}">
<label for="name">Name</label>
<input id="name" name="name" value="{escape(name)}" autocomplete="username" autocapitalize="none"
 spellcheck="false" maxlength="{NAME_MAX}" required{described}{"" if name else " autofocus"}>
{_password("password", "Password", "current-password", focus=bool(name))}
<button>Log in</button></form>""",
    )


def account_page(name: str, roles: Sequence[str], logins: int, told: str, *, good: bool) -> str:
    """Who one is, another password, and the ways out.

    Args:
        name: of the user.
        roles: what they are, a line each.
        logins: browsers they are logged in with.
        told: what came of the last act; "" for nothing.
        good: whether it was done.
    """
    lines = "".join(f"<p>{escape(line)}</p>" for line in roles)
    browsers = "this browser only" if logins == 1 else f"{logins} browsers"
    return _page(
        name,
        f"""{lines}<p>Logged in with {browsers}. <a href="/">Back to the studio</a></p>
{_told(told, good=good)}
<h2>Change your password</h2>
<form method="post" action="/mal/account">
<input type="hidden" name="name" value="{escape(name)}" autocomplete="username">
{_password("old", "Password now", "current-password")}
{_password("new", "New password, 10 characters or more", "new-password")}
{_password("again", "New password once more", "new-password")}
<button>Change it</button></form>
<h2>Log out</h2>
<form method="post" action="/mal/logout"><button class="quiet">Log out here</button></form>
<form method="post" action="/mal/logout"><input type="hidden" name="everywhere" value="1">
<button class="quiet">Log out everywhere</button></form>""",
    )


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} - MAL Studio</title><style>{_STYLE}</style></head>
<body><main><h1>{escape(title) if title != "Log in" else "MAL Studio"}</h1>
{body}
</main></body></html>"""


def _told(text: str, *, good: bool) -> str:
    if not text:
        return ""
    look, role = ("told", "status") if good else ("told bad", "alert")
    return f'<p id="told" class="{look}" role="{role}">{escape(text)}</p>'


def _password(name: str, label: str, use: str, *, focus: bool = False) -> str:
    return (
        f'<label for="{name}">{escape(label)}</label><input id="{name}" name="{name}"'
        f' type="password" autocomplete="{use}" maxlength="{PASSWORD_MAX}" required'
        f"{' autofocus' if focus else ''}>"
    )
