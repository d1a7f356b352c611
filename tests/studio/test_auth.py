"""Who is let in: signed page tokens, our own hosts, our own pages."""

import stat
from pathlib import Path

import pytest
from itsdangerous import TimestampSigner

from app.auth import MAX_AGE, RENEWABLE, Sessions, check_host, check_origin
from app.errors import Forbidden
from app.settings import Settings

OWN = ["127.0.0.1:7860", "127.0.0.1", "localhost:7860", "LOCALHOST", "127.8.9.1:80", "[::1]:7860"]
FOREIGN = [
    pytest.param("", id="none"),
    pytest.param("evil.example", id="another name"),
    pytest.param("evil.example:7860", id="another name on our port"),
    pytest.param("127.0.0.1.evil.example", id="an address as a subdomain"),
    pytest.param("localhost.evil.example", id="localhost as a subdomain"),
    pytest.param("127.0.0.1@evil.example", id="an address as a user"),
    pytest.param("192.168.0.2:7860", id="an address of the network"),
    pytest.param("0.0.0.0:7860", id="any address"),
    pytest.param("2130706433", id="an address as a number"),
    pytest.param("[::1", id="half an address"),
    pytest.param("[evil]", id="no address in brackets"),
]


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(tmp_path / "data" / "secret")


def test_a_token_names_its_person(sessions: Sessions) -> None:
    assert sessions.person(sessions.mint("Ada Lovelace")) == "Ada Lovelace"


def test_a_token_outlives_a_restart(sessions: Sessions, tmp_path: Path) -> None:
    assert Sessions(tmp_path / "data" / "secret").person(sessions.mint("Ada")) == "Ada"


def test_a_token_of_another_data_folder_is_refused(sessions: Sessions, tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match="reload the page"):
        sessions.person(Sessions(tmp_path / "other").mint("Ada"))


@pytest.mark.parametrize("token", ["", ".", "Ada", "a.b.c", "\u00e4.\u00f6.\u00fc", "x" * 10_000])
def test_what_is_no_token_is_refused(sessions: Sessions, token: str) -> None:
    with pytest.raises(Forbidden, match="reload the page"):
        sessions.person(token)


def test_a_token_with_a_changed_person_is_refused(sessions: Sessions) -> None:
    _, *rest = sessions.mint("Ada").split(".")
    payload, *_ = sessions.mint("Eve").split(".")
    with pytest.raises(Forbidden):
        sessions.person(".".join([payload, *rest]))


def test_a_token_is_good_for_a_week_and_no_longer(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = sessions.mint("Ada")
    now = TimestampSigner("any").get_timestamp()
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: now + MAX_AGE - 60)
    assert sessions.person(token) == "Ada"
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: now + MAX_AGE + 60)
    with pytest.raises(Forbidden):
        sessions.person(token)


def test_a_token_too_old_to_be_served_is_changed_for_a_fresh_one_of_the_same_person(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = sessions.mint("Ada")
    now = TimestampSigner("any").get_timestamp()
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: now + RENEWABLE - 60)
    assert sessions.person(sessions.renew(token)) == "Ada"
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: now + RENEWABLE + 60)
    with pytest.raises(Forbidden, match="reload the page"):
        sessions.renew(token)


def test_no_token_is_made_from_a_foreign_one(sessions: Sessions, tmp_path: Path) -> None:
    for token in ("", "a.b.c", Sessions(tmp_path / "other").mint("Ada")):
        with pytest.raises(Forbidden, match="reload the page"):
            sessions.renew(token)


def test_a_data_folder_has_a_name_of_its_own_that_tells_nothing_of_its_secret(
    sessions: Sessions, tmp_path: Path
) -> None:
    again, other = Sessions(tmp_path / "data" / "secret"), Sessions(tmp_path / "other")
    assert (again.studio == sessions.studio, other.studio == sessions.studio) == (True, False)
    assert sessions.studio not in (tmp_path / "data" / "secret").read_text("ascii")


def test_the_secret_is_its_owners_alone(sessions: Sessions, tmp_path: Path) -> None:
    secret = tmp_path / "data" / "secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(secret.read_text("ascii")) >= 43  # 256 bits
    assert list(secret.parent.iterdir()) == [secret]


def test_a_crash_before_the_secret_is_whole_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        Sessions(tmp_path / "secret")
    assert not (tmp_path / "secret").exists()


@pytest.mark.parametrize("host", OWN)
def test_a_loopback_host_is_ours(host: str) -> None:
    check_host(host, Settings())


@pytest.mark.parametrize("host", FOREIGN)
def test_any_other_host_is_refused(host: str) -> None:
    with pytest.raises(Forbidden, match=r"open it as http://127\.0\.0\.1"):
        check_host(host, Settings())


@pytest.mark.parametrize("host", ["studio.example", "Studio.Example:443", "studio.example.", *OWN])
def test_a_name_that_is_allowed_is_ours(host: str) -> None:
    check_host(host, Settings(allowed_hosts="other.example, studio.example"))


@pytest.mark.parametrize("host", ["example", "a.studio.example", "studio.example.evil", ""])
def test_what_only_resembles_an_allowed_name_is_refused(host: str) -> None:
    with pytest.raises(Forbidden, match="MAL_ALLOWED_HOSTS"):
        check_host(host, Settings(allowed_hosts="studio.example"))


def test_where_others_reach_the_studio_its_addresses_are_ours_and_names_are_not() -> None:
    check_host("192.0.2.7:7860", Settings(host="0.0.0.0"))
    check_host("[2001:db8::1]", Settings(host="::"))
    with pytest.raises(Forbidden):
        check_host("evil.example", Settings(host="0.0.0.0"))


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:7860", "https://127.0.0.1:7860"])
def test_our_own_page_or_a_program_may_ask(origin: str | None) -> None:
    check_origin(origin, "127.0.0.1:7860")


@pytest.mark.parametrize(
    "origin",
    [
        pytest.param("http://evil.example", id="another site"),
        pytest.param("http://127.0.0.1:8000", id="another port"),
        pytest.param("http://127.0.0.1", id="no port"),
        pytest.param("http://localhost:7860", id="another name of ours"),
        pytest.param("http://127.0.0.1:7860.evil.example", id="ours as a prefix"),
        pytest.param("null", id="a sandboxed frame"),
        pytest.param("", id="empty"),
        pytest.param("file://", id="a file"),
        pytest.param("http://[", id="malformed"),
    ],
)
def test_a_request_from_another_page_is_refused(origin: str) -> None:
    with pytest.raises(Forbidden, match="another site"):
        check_origin(origin, "127.0.0.1:7860")
