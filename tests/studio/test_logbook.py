"""The history and the audit log over the wire, and what writes lines into the log."""

import csv
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api import Api
from app.chronicle import LINE_HEAD, Chronicle
from app.errors import Conflict, NotAllowed
from app.logbook import Logbook, audit_address, history_address
from app.merging import Merging
from app.pages.history import lines_table, to_number, to_sieve
from app.records import JobState, Sieve, State
from tests.studio.conftest import NOW, Studio
from tests.studio.rest import error_of


@pytest.fixture
def page(studio: Studio, api: Api, request: pytest.FixtureRequest) -> TestClient:
    Logbook(api, Chronicle(studio.store, lambda: NOW), Merging(studio.store, lambda: NOW))
    opened: TestClient = request.getfixturevalue("client")
    del opened.headers["x-mal-session"]  # a link sends no header
    return opened


def test_the_history_comes_as_a_file_filtered_as_its_address_says(
    page: TestClient, studio: Studio
) -> None:
    for index in (0, 1):
        studio.add(index)
    address = history_address(studio.project.id, Sieve("Ada", "box", State.PROPOSED, "COF", 1))
    answer = page.get(address)
    head, *rows = csv.reader(answer.text.splitlines())
    assert tuple(head) == LINE_HEAD
    assert [row[6] for row in rows] == ["coffee.png"]
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.headers["content-type"].startswith("text/csv")
    assert len(page.get(history_address(studio.project.id, Sieve())).text.splitlines()) == 3


@pytest.mark.parametrize("query", ["state=lost", "number=-1", "number=x", "text=" + "x" * 201])
def test_a_filter_that_is_none_is_refused(page: TestClient, query: str) -> None:
    error_of(page.get(f"/mal/history/1?{query}"), 422, "bad_request")


def test_how_a_job_ended_is_written_down_once(page: TestClient, studio: Studio) -> None:
    store = studio.store
    job = store.add_job(studio.project.id, "finetune", {}, NOW)
    store.launch_job(job.id, {}, NOW)
    store.set_job(job.id, state=JobState.FAILED, error="no memory", ended_at=NOW)
    rows = list(csv.reader(page.get(audit_address(studio.project.id)).text.splitlines()))
    assert [row[2] for row in rows[1:]] == ["job.failed"]
    assert rows[1][4:] == [f"finetune {job.id}", '{"error":"no memory"}']


def test_a_line_in_the_audit_log_stands_or_falls_with_its_job(studio: Studio) -> None:
    store = studio.store
    job = store.add_job(studio.project.id, "finetune", {}, NOW)

    def stop_and_fail() -> None:
        with store.transaction():
            store.set_job(job.id, state=JobState.STOPPED, ended_at=NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop_and_fail()
    assert store.list_audit() == []


@pytest.mark.parametrize(
    ("fields", "sieve"),
    [
        pytest.param((None,) * 6, Sieve(), id="the page is opening"),
        pytest.param(("*", "*", "", "", " ", False), Sieve(), id="nothing is asked"),
        pytest.param(("", "brush", "accepted", " a ", " 3", True),
                     Sieve("", "brush", State.ACCEPTED, "a", 3, True), id="everything is"),
    ],
)  # fmt: skip
def test_the_fields_of_the_page_make_a_sieve(fields: tuple[Any, ...], sieve: Sieve) -> None:
    assert to_sieve(*fields) == sieve


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "٣", "9" * 16])
def test_a_field_for_a_number_takes_nothing_else(text: str) -> None:
    with pytest.raises(NotAllowed, match="digits"):
        to_number(text)


def test_what_came_too_late_says_so_and_names_are_text(studio: Studio) -> None:
    made = studio.add()
    studio.store.save_instance(made.id, made.draft, 1, "<b>Bob", "brush", NOW)
    with pytest.raises(Conflict):
        studio.store.save_instance(made.id, made.draft, 1, "Eve", "brush", NOW)
    late, *others = studio.store.list_lines(studio.project.id, Sieve())
    assert "too late, kept beside" in lines_table([late], "nothing")
    html = lines_table(others, "nothing")
    assert "&lt;b&gt;Bob" in html
    assert "too late" not in html
    assert lines_table([], "nothing") == "<p class='mal-note'>nothing</p>"
