"""Who may talk to us: signed page tokens, and a check of where a request comes from.

A token is minted when a page loads and travels in the `x-mal-session` header, which no foreign
site can set. It is signed with a secret of the data folder, so a server restart does not end the
session of somebody with unsent strokes; a page left open for long changes its token for a new one.
"""

import hashlib
import os
import secrets
import tempfile
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer

from app.errors import Forbidden
from app.settings import Settings, is_loopback

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
        self.cookie = f"mal-login-{self.studio}"
        """The cookie of a login: of this studio's own name, as cookies know no ports."""

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


def check_host(host: str, settings: Settings) -> None:
    """Refuse a request that reached us under a foreign name (DNS rebinding).

    Args:
        host: the Host header.
        settings: loopback addresses are always ours; so are the names it allows, and all addresses
            where the studio listens on one that others can reach, since no page can make a browser
            say an address that is not the one it talks to.

    Raises:
        Forbidden: it is none of these.
    """
    name, address = _name_of(host), _address_of(host)
    is_ours = name == "localhost" or (address is not None and address.is_loopback)
    is_allowed = name in settings.names or (address is not None and not is_loopback(settings.host))
    if not (is_ours or is_allowed):
        raise Forbidden(
            f"this studio does not go by the name {host!r:.80}: open it as http://127.0.0.1, or"
            " let it be called so with MAL_ALLOWED_HOSTS"
        )


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


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:  # not a host at all
        return ""


def _address_of(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(_name_of(host))
    except ValueError:
        return None


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
