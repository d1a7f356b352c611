"""Who may talk to us: signed page tokens, and a check of where a request comes from.

A token is minted when a page loads and travels in the `x-mal-session` header, which no foreign
site can set. It is signed with a secret of the data folder, so a server restart does not end the
session of somebody with unsent strokes; a page left open for long changes its token for a new one.
"""

import hashlib
import os
import secrets
import tempfile
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer

from app.errors import Forbidden

MAX_AGE = 7 * 24 * 3600  # seconds
RENEWABLE = 60 * 24 * 3600  # seconds; the age up to which a token is changed for a new one
_SALT = "mal-page"


class Sessions:
    """Mints and checks page tokens."""

    def __init__(self, secret_file: Path) -> None:
        secret = _read_secret(secret_file)
        self._signer = URLSafeTimedSerializer(secret, salt=_SALT)
        self.studio = hashlib.sha256(f"studio {secret}".encode()).hexdigest()[:16]
        """Names the data folder, so that a browser never sends work meant for another one."""

    def mint(self, person: str) -> str:
        """A token for one page of one person; good for seven days."""
        return self._signer.dumps(person)

    def person(self, token: str) -> str:
        """Who holds the token.

        Raises:
            Forbidden: it is missing, forged or too old.
        """
        return self._read(token, MAX_AGE)

    def renew(self, token: str) -> str:
        """A fresh token for the holder of one that is ours, perhaps too old to be served.

        Raises:
            Forbidden: it is missing, forged, or older than two months.
        """
        return self.mint(self._read(token, RENEWABLE))

    def _read(self, token: str, max_age: int) -> str:
        try:
            return str(self._signer.loads(token, max_age=max_age))
        except BadSignature as error:
            raise Forbidden("this page's session is not valid: reload the page") from error


def check_host(host: str) -> None:
    """Refuse a request that reached us under a foreign name (DNS rebinding).

    Raises:
        Forbidden: the Host header is neither "localhost" nor a loopback address.
    """
    if not _is_loopback(host):
        raise Forbidden(f"open the studio as http://127.0.0.1, not as {host!r:.80}")


def check_origin(origin: str | None, host: str | None) -> None:
    """Refuse a request that another site made the browser send.

    Args:
        origin: the Origin header; None where the browser sends none (same-site reads, programs).
        host: the Host header.

    Raises:
        Forbidden: the origin is not the host the request came to.
    """
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        raise Forbidden("requests from another site are not taken")


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:  # not a host at all, or another name
        return False


def _read_secret(path: Path) -> str:
    """The data folder's own secret, made at first use, readable by its owner only.

    It appears whole or not at all: with half a secret, tokens could be forged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        handle, name = tempfile.mkstemp(prefix=".secret-", dir=path.parent)  # mode 0600
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    return path.read_text("ascii")
