"""What the pages say: every text from outside escaped, every error in words or by reference."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app.errors import NotAllowed
from app.exchange import ExportReport, ImportReport
from app.pages.house import shown
from app.pages.tables import (
    categories_table,
    describe_export,
    describe_import,
    images_table,
    models_table,
    note,
    outcome,
    progress_bar,
    report,
    table,
)
from app.records import (
    Category,
    Image,
    ImageSummary,
    Job,
    JobState,
    ModelState,
    ModelVersion,
    State,
)
from mal_core.errors import BadImage
from tests.studio.conftest import NOW

EVIL = "<img src=x onerror='alert(1)'>\" & \u202e"
IMAGE = Image(1, 1, 1, EVIL, "a" * 64, "b" * 64, "png", 640, 427, None, EVIL, NOW)
MODEL = ModelVersion(1, None, None, None, EVIL, "c" * 64, ModelState.BUNDLED, {}, NOW)
FIGURES = {"instance_iou": 0.5, "boundary_iou": 0.25, "class_iou": 0.75, "n": 3}
RESULT = {
    "before": FIGURES,
    "after": FIGURES | {"instance_iou": 0.625},
    "categories": {EVIL: {"before": 0.5, "after": 0.25}},
    "n_train": 6,
    "reason": EVIL,
    "promoted": True,
    "in_use": True,
}


def job(state: JobState, **changes: Any) -> Job:  # noqa: ANN401 - of any field
    empty = Job(4, 1, "fine-tune", state, {}, {}, {}, "", NOW, None)
    return replace(empty, **changes)


@pytest.mark.parametrize(
    "html",
    [
        pytest.param(table([EVIL], [[EVIL]], ""), id="table"),
        pytest.param(table(["a"], [], EVIL), id="empty table"),
        pytest.param(note(EVIL), id="note"),
        pytest.param(report(EVIL, [EVIL], good=True), id="report"),
        pytest.param(categories_table([Category(1, 1, 1, EVIL, EVIL)]), id="category"),
        pytest.param(images_table([ImageSummary(IMAGE, {})]), id="image"),
        pytest.param(models_table([MODEL], in_use=1), id="model"),
        pytest.param(outcome(job(JobState.FAILED, error=EVIL)), id="failed job"),
        pytest.param(outcome(job(JobState.DONE, result=RESULT)), id="finished job"),
        pytest.param(
            progress_bar(job(JobState.RUNNING, progress={"stage": EVIL})), id="running job"
        ),
    ],
)
def test_no_text_from_outside_becomes_markup(html: str) -> None:
    ours = {"table", "thead", "tbody", "tr", "th", "td", "p", "div", "ul", "li", "b", "span"}
    assert set(re.findall(r"<([a-z]+)", html)) <= ours
    assert "onerror='" not in html
    assert html.count("<") == html.count(">")


def test_the_evil_text_is_still_shown_as_it_is() -> None:
    assert "&lt;img src=x onerror=&#x27;alert(1)&#x27;&gt;&quot; &amp; \u202e" in note(EVIL)


def test_images_are_listed_with_what_became_of_their_instances() -> None:
    counts = {State.PROPOSED: 4, State.CORRECTED: 3, State.ACCEPTED: 2, State.REJECTED: 1}
    html = images_table([ImageSummary(replace(IMAGE, file_name="a.png", notice="turned"), counts)])
    cells = re.findall(r"<td>(.*?)</td>", html)
    assert cells == ["a.png", "640 x 427", "4", "3", "2", "1", "turned"]


def test_models_are_listed_newest_first_with_parent_and_figures() -> None:
    tuned = replace(MODEL, id=2, parent_id=1, name="fine-tune 4", figures=RESULT,
                    state=ModelState.PROMOTED)  # fmt: skip
    html = models_table([replace(MODEL, name="small"), tuned], in_use=2)
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in html.split("<tr>")[2:]]
    assert [row[0] for row in rows] == ["fine-tune 4 (in use)", "small"]
    assert rows[0][1:6] == ["promoted", "small", "6 masks", "0.500 to 0.625", "0.250 to 0.250"]
    assert rows[1][1:6] == ["bundled", "-", "-", "-", "-"]


@pytest.mark.parametrize(
    ("progress", "percent", "words"),
    [
        pytest.param({"stage": "cache", "done": 3, "total": 12}, 25, "reading the images, 3 of 12",
                     id="reading"),
        pytest.param({"stage": "epoch", "epoch": 2, "epochs": 5}, 40, "learning, 2 of 5",
                     id="learning"),
        pytest.param({"stage": "measure", "done": 9, "total": 9}, 100, "measuring, 9 of 9",
                     id="measuring"),
        pytest.param({}, 0, "preparing", id="begun"),
    ],
)  # fmt: skip
def test_a_running_job_says_how_far_it_is(
    progress: dict[str, object], percent: int, words: str
) -> None:
    html = progress_bar(job(JobState.RUNNING, progress=progress))
    assert f"aria-valuenow='{percent}'" in html
    assert words in html


@pytest.mark.parametrize(
    ("state", "changes", "words"),
    [
        pytest.param(JobState.DONE, {"result": RESULT}, "Promoted: the new weights were put in use",
                     id="promoted"),
        pytest.param(JobState.DONE, {"result": RESULT | {"promoted": False}},
                     "Refused: the old weights stay", id="refused"),
        pytest.param(JobState.STOPPED, {}, "model in use did not change", id="stopped"),
        pytest.param(JobState.FAILED, {"error": "no room"}, "no room", id="failed"),
    ],
)  # fmt: skip
def test_a_job_that_ended_says_what_came_of_it(
    state: JobState, changes: dict[str, object], words: str
) -> None:
    assert words in outcome(job(state, **changes))


def test_a_finished_job_shows_the_change_of_each_figure() -> None:
    rows = outcome(job(JobState.DONE, result=RESULT)).split("<tr>")[2:]
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    assert cells[0] == ["Mask IoU", "0.500", "0.625", "+0.125"]
    assert cells[-1][1:] == ["0.500", "0.250", "-0.250"]


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_a_job_that_goes_on_has_no_outcome(state: JobState) -> None:
    assert outcome(job(state)) == outcome(None) == ""


def test_a_long_report_is_cut_and_says_so() -> None:
    html = report("Added", [f"line {n}" for n in range(250)], good=False)
    assert html.count("<li>") == 101
    assert "and 150 more" in html


def test_an_import_names_the_images_nobody_has() -> None:
    done = ImportReport(2, 5, 3, 1, 0, ("lost.png",))
    title, lines = describe_import(done)
    assert title == "8 instances imported on 2 images"
    assert [line.split()[0] for line in lines] == ["5", "3", "1", "no"]
    assert "lost.png" in lines[-1]


def test_an_export_states_its_proof_and_what_it_left_out() -> None:
    done = ExportReport(Path("x.zip"), 2, 1, 5, 1.0, ("instance 9 has no mask",), {"a": "a-2"})
    title, lines = describe_export(done)
    assert title == "5 masks on 2 images exported"
    assert "smallest IoU 1.000" in lines[0]
    assert lines[1:] == ["instance 9 has no mask", "a is named a-2 in the export"]


def act(error: Exception) -> None:
    raise error


def test_what_a_person_can_mend_is_said_in_words() -> None:
    with pytest.raises(gr.Error, match="accept some more"):
        shown(act)(NotAllowed("accept some more"))


def test_a_message_is_text_though_gradio_would_render_html() -> None:
    with pytest.raises(gr.Error) as caught:
        shown(act)(BadImage(f"{EVIL} is no image"))
    assert "<" not in caught.value.message


def test_a_mistake_of_ours_is_told_by_reference_only(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(gr.Error) as caught:
        shown(act)(RuntimeError("the insides of /home/ada"))
    assert "ada" not in caught.value.message
    assert caught.value.message.split()[-1] in caplog.text
    assert "the insides of /home/ada" in caplog.text


def test_a_message_made_already_passes_as_it_is() -> None:
    error = gr.Error("as it is")
    with pytest.raises(gr.Error) as caught:
        shown(act)(error)
    assert caught.value is error
