"""The log: a line a record, an id a request, and nothing that may not stand in it."""

import io
import json
import logging
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from app.logs import Blotter, JsonLines, TextLines, begin_request, configure, reference


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back after."""
    logger, watcher = logging.getLogger(), logging.getLogger("app.requests")
    before = logger.handlers[:], logger.level, watcher.level
    yield logger
    logger.handlers[:] = before[0]
    logger.setLevel(before[1])
    watcher.setLevel(before[2])


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("app.x", logging.ERROR, "/srv/x.py", 1, message, args, info)


def raised(text: str) -> Exception:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def to_json(made: logging.LogRecord, folder: Path = Path("/srv/data")) -> dict[str, Any]:
    line = JsonLines(Blotter(folder)).format(made)
    assert "\n" not in line
    return dict(json.loads(line))


def test_a_line_says_when_what_and_from_where() -> None:
    line = to_json(record("job %s", 7))
    assert (line["level"], line["logger"], line["message"]) == ("error", "app.x", "job 7")
    assert line["time"].endswith("+00:00")


def test_an_error_is_one_line_with_its_kind_and_its_way() -> None:
    line = to_json(record("reference", error=raised("two\nlines")))
    assert line["error"]["kind"] == "ValueError"
    assert line["error"]["text"] == "two\nlines"
    assert [where.split(" ")[1] for where in line["error"]["where"]] == ["raised"]


def test_the_lines_of_a_request_carry_the_id_that_a_person_is_told() -> None:
    def request() -> tuple[str, str, Any]:
        return begin_request().name, reference(), to_json(record("x"))["request_id"]

    first, second = (set(copy_context().run(request)) for _ in range(2))
    assert len(first) == len(second) == 1
    assert first != second
    assert reference() != reference()


def test_what_a_request_leaves_behind_does_not_go_by_its_id() -> None:
    def request() -> tuple[str, str, dict[str, Any]]:
        begun = begin_request()
        begun.is_over = True
        return begun.name, reference(), to_json(record("x"))

    name, later, line = copy_context().run(request)
    assert name != later
    assert "request_id" not in line


TOKEN = "mal_" + "Ab-_9" * 8
SIGNED = "IkFkYSI.aSVeJQ.Gv2k5Ivd2Dyxd8ZqkJY2vIYq8wo"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        pytest.param(f"got {TOKEN}!", TOKEN, id="a program's token"),
        pytest.param(f"Authorization: Bearer {TOKEN}", TOKEN, id="its header"),
        pytest.param("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", id="basic"),
        pytest.param(f"x-mal-session: {SIGNED}", SIGNED, id="a page's token"),
        pytest.param("name=a&password=hunter2hunter2&x=1", "hunter2", id="a form"),
        pytest.param("Cookie: mal=s3cret; other=1", "s3cret", id="a cookie"),
        pytest.param("postgresql://mal:s3cret@db/mal", "s3cret", id="a database's password"),
        pytest.param("No such file: '/home/ada/secret-plan.png'", "ada", id="a foreign path"),
        pytest.param("(/etc/mal/key.pem)", "/etc", id="a path in brackets"),
    ],
)
def test_secrets_and_foreign_paths_are_blotted_out(text: str, secret: str) -> None:
    for formatter in (JsonLines(Blotter(Path("/srv/data"))), TextLines(Blotter(Path("/srv/data")))):
        for made in (record("%s", text), record("x", error=raised(text))):
            assert secret not in formatter.format(made)


@pytest.mark.parametrize(
    "text",
    ["GET /mal/v1/projects/{project_id} 200", "3/4 of 12 px", "http://127.0.0.1:7860/x/y", "a/b/c"],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Blotter(Path("/srv/data")).clean(text) == text


def test_a_path_of_the_data_folder_is_told_as_it_lies_there(tmp_path: Path) -> None:
    text = f"{tmp_path}/images/ab/cd.png is damaged"
    assert Blotter(tmp_path).clean(text) == "images/ab/cd.png is damaged"


@pytest.mark.parametrize(("kind", "lines"), [("json", 2), ("text", 1)])
def test_requests_are_told_to_programs_only(root: logging.Logger, kind: str, lines: int) -> None:
    stream = io.StringIO()
    configure(kind, Path("/srv/data"), stream)
    logging.getLogger("app.requests").info("GET / 200", extra={"fields": {"status": 200}})
    logging.getLogger("app.x").warning("careful")
    logging.getLogger("other").info("chatter")
    assert len(stream.getvalue().splitlines()) == lines
