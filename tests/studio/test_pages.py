"""What the pages say: every text from outside escaped, every error in words or by reference."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app.errors import NotAllowed
from app.exchange import ExportReport, ImportReport
from app.ledger import Entry, by_model
from app.pages.house import House, shown
from app.pages.insight import pace_figure, pace_table, summary_text
from app.pages.models import compare_table, models_table
from app.pages.tables import (
    categories_table,
    describe_export,
    describe_import,
    images_table,
    note,
    report,
    table,
)
from app.pages.train import curve_figure
from app.pages.verdicts import again_line, batch_line, gallery, is_asking, outcome, progress_bar
from app.pictures import Change, Picture
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
from mal_core.masks import RLE
from tests.studio.conftest import NOW

EVIL = "<img src=x onerror='alert(1)'>\" & \u202e"
IMAGE = Image(1, 1, 1, EVIL, "a" * 64, "b" * 64, "png", 640, 427, None, EVIL, NOW)
MODEL = ModelVersion(1, None, None, None, EVIL, "c" * 64, ModelState.BUNDLED, {}, EVIL, NOW)
FIGURES = {"instance_iou": 0.5, "boundary_iou": 0.25, "class_iou": 0.75, "n": 3}
RESULT = {
    "before": FIGURES,
    "after": FIGURES | {"instance_iou": 0.625},
    "categories": {EVIL: {"before": 0.5, "after": 0.25, "n": 3}},
    "probe": {"before": 0.9, "after": 0.875, "n": 45},
    "n_masks": 6,
    "n_boxes": 2,
    "reason": EVIL,
    "state": "promoted",
    "in_use": True,
}
MASK = RLE.from_coco({"size": [2, 2], "counts": [1, 3]})
PICTURE = Picture(Change(1, 1, 3, 0.25, 0.75, MASK, MASK), "data:image/jpeg;base64,AAAA")
ENTRIES = [Entry(n, n % 2 or None, NOW, 3.0 * n, 2, 0.5, is_untouched=False) for n in (1, 2, 3)]


def job(state: JobState, **changes: Any) -> Job:  # noqa: ANN401 - of any field
    empty = Job(4, 1, "fine-tune", state, {}, {}, {}, "", 1, NOW, None, None)
    return replace(empty, **changes)


@pytest.mark.parametrize(
    "html",
    [
        pytest.param(table(EVIL, [EVIL], [[EVIL]], ""), id="table"),
        pytest.param(table(EVIL, ["a"], [], EVIL), id="empty table"),
        pytest.param(note(EVIL), id="note"),
        pytest.param(report(EVIL, [EVIL], good=True), id="report"),
        pytest.param(categories_table([Category(1, 1, 1, EVIL, EVIL)]), id="category"),
        pytest.param(images_table([ImageSummary(IMAGE, {})]), id="image"),
        pytest.param(models_table([MODEL], 1, set()), id="model"),
        pytest.param(compare_table(MODEL, replace(MODEL, id=2, figures=RESULT)), id="two models"),
        pytest.param(gallery([PICTURE], [PICTURE], {3: EVIL}), id="pictures"),
        pytest.param(pace_table(by_model(ENTRIES), {1: EVIL}), id="ledger"),
        pytest.param(again_line(job(JobState.FAILED, error=EVIL)), id="failed round"),
        pytest.param(outcome(job(JobState.FAILED, error=EVIL)), id="failed job"),
        pytest.param(
            batch_line(job(JobState.DONE, progress={"failed": 1, "errors": [EVIL]})),
            id="boxes without a mask",
        ),
        pytest.param(outcome(job(JobState.DONE, result=RESULT)), id="finished job"),
        pytest.param(
            progress_bar(job(JobState.RUNNING, progress={"stage": EVIL, "notices": [EVIL]})),
            id="running job",
        ),
    ],
)
def test_no_text_from_outside_becomes_markup(html: str) -> None:
    ours = {"table", "thead", "tbody", "tr", "th", "td", "p", "div", "ul", "li", "b", "span",
            "figure", "img", "figcaption"}  # fmt: skip
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


TUNED = replace(MODEL, id=2, parent_id=1, name="fine-tune 4", figures=RESULT,
                state=ModelState.PROMOTED, notes="for leaves")  # fmt: skip


def test_models_are_listed_newest_first_with_parent_data_figures_and_notes() -> None:
    html = models_table([replace(MODEL, name="small"), TUNED], 2, {1})
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in html.split("<tr>")[2:]]
    assert [row[0] for row in rows] == ["fine-tune 4 (in use)", "small (weights removed)"]
    figures = ["0.500 to 0.625", "0.250 to 0.250"]
    assert rows[0][1:6] == ["promoted", "small", "6 masks, 2 boxes", *figures]
    assert rows[0][-1] == "for leaves"
    assert rows[1][1:6] == ["bundled", "-", "-", "-", "-"]


def test_two_models_are_compared_line_by_line() -> None:
    other = replace(TUNED, name="fine-tune 5", figures=RESULT | {"categories": {}, "after": None})
    rows = [
        re.findall(r"<td>(.*?)</td>", row) for row in compare_table(TUNED, other).split("<tr>")[2:]
    ]
    found = {row[0]: row[1:] for row in rows}
    assert found["Held-out masks"] == ["3", "-"]
    assert found["Held-out IoU"] == ["0.500 to 0.625", "-"]
    assert found["Probe"] == ["0.900 to 0.875"] * 2
    assert rows[-1][1:] == ["0.500 to 0.250", "-"]


@pytest.mark.parametrize(
    ("progress", "percent", "words"),
    [
        pytest.param({"stage": "cache", "done": 3, "total": 12}, 25, "reading the images, 3 of 12",
                     id="reading"),
        pytest.param({"stage": "epoch", "epoch": 2, "epochs": 5}, 40, "learning, 2 of 5",
                     id="learning"),
        pytest.param({"stage": "measure", "done": 9, "total": 9}, 100, "measuring, 9 of 9",
                     id="measuring"),
        pytest.param({"stage": "epoch", "epoch": 1, "epochs": 5, "eta_seconds": 41.6}, 20,
                     "learning, 1 of 5, about 42 s left", id="with an end in sight"),
        pytest.param({"stage": "epoch", "epoch": 1, "epochs": 5, "eta_seconds": 200}, 20,
                     "about 3 min left", id="with an end far off"),
        pytest.param({"stage": "notice", "text": "x", "notices": ["half the batch"]}, 0,
                     "half the batch", id="with a notice"),
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
        pytest.param(JobState.DONE, {"result": RESULT | {"state": "rejected", "in_use": False}},
                     "Refused: the old weights stay", id="refused"),
        pytest.param(JobState.DONE, {"result": RESULT | {"state": "undecided", "in_use": False}},
                     "Undecided: it takes your word", id="undecided"),
        pytest.param(JobState.DONE, {"result": RESULT | {"decided": True}},
                     "You chose the new weights", id="chosen"),
        pytest.param(JobState.DONE, {"result": RESULT | {"state": "rejected", "in_use": False,
                                                         "decided": True}},
                     "You kept the old weights", id="not chosen"),
        pytest.param(JobState.DONE, {"result": RESULT | {"in_use": False}},
                     "Passed, but not in use", id="passed too late"),
        pytest.param(JobState.DONE, {"result": RESULT}, "45 objects of common photos: IoU 0.900",
                     id="probe"),
        pytest.param(JobState.DONE, {"result": RESULT}, "from masks: 6, from boxes without one: 2",
                     id="data"),
        pytest.param(JobState.DONE, {"result": RESULT | {"before": None, "after": None,
                                                         "probe": None, "state": "undecided"}},
                     "it takes your word", id="nothing held out"),
        pytest.param(JobState.DONE, {}, "stand with its model", id="of an older studio"),
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
    assert cells[0] == ["Mask IoU", "3", "0.500", "0.625", "+0.125"]
    assert cells[-1][1:] == ["3", "0.500", "0.250", "-0.250"]


def test_a_waiting_job_says_that_it_waits() -> None:
    assert "waiting for the one before it" in progress_bar(job(JobState.QUEUED))


def test_only_undecided_weights_ask() -> None:
    asking = {"result": RESULT | {"state": "undecided"}}
    assert is_asking(job(JobState.DONE, **asking))
    assert not is_asking(job(JobState.DONE, result=RESULT))
    assert not is_asking(None)


def test_a_round_of_proposing_again_is_told_in_a_line() -> None:
    kind = {"kind": "propose again"}
    running = job(JobState.RUNNING, progress={"done": 3, "total": 12}, **kind)
    assert "Proposing again: 3 of 12" in again_line(running)
    assert "aria-valuenow='25'" in again_line(running)
    assert "model in use: 5." in again_line(job(JobState.DONE, result={"changed": 5}, **kind))
    assert again_line(None) == ""


PLACE = {"done": 3, "total": 12, "images": 2}
FAILED = {"failed": 25, "errors": [EVIL, "b"]}


@pytest.mark.parametrize(
    ("state", "changes", "words"),
    [
        (JobState.RUNNING, {}, "Proposing masks: 3 of 12 on 2 images<"),
        (JobState.RUNNING, {"params": {"wish": "pause"}}, "3 of 12 on 2 images, paused<"),
        (JobState.RUNNING, {"params": {"wish": "stop"}}, "3 of 12 on 2 images, stopping<"),
        (JobState.RUNNING, {"progress": PLACE | FAILED}, "aria-valuenow='25'"),
        (JobState.RUNNING, {"progress": PLACE | FAILED}, "<b>25 without a mask."),
        (JobState.DONE, {"progress": PLACE | FAILED}, "<b>25 without a mask."),
        (JobState.DONE, {}, "Finished: 3 of 12 boxes on 2 images."),
        (JobState.DONE, {"progress": {"total": 0}}, "Every box has a mask already."),
        (JobState.STOPPED, {}, "Stopped after 3 of 12 boxes. The rest stays as it is."),
        (JobState.FAILED, {"error": "no weights"}, "<li>no weights</li>"),
    ],
)
def test_a_round_over_the_boxes_says_how_far_it_is_and_what_came_of_it(
    state: JobState, changes: dict[str, object], words: str
) -> None:
    html = batch_line(job(state, **({"kind": "propose all", "progress": PLACE} | changes)))
    assert words in html
    assert ("without a mask" in html) == ("failed" in str(changes.get("progress")))


def test_before_the_first_round_the_page_says_what_the_button_does() -> None:
    assert "in the background" in batch_line(None)


def test_pictures_say_in_words_what_they_show() -> None:
    html = gallery([PICTURE], [], {3: "leaf"})
    assert "alt='Held-out leaf 0.25 to 0.75'" in html
    assert "Worst with the new weights" in html
    assert "Most changed" not in html
    assert gallery([], [], {}) == ""


def test_the_curve_shows_both_figures_and_bears_gaps() -> None:
    rows = [{"epoch": 0, "loss": None, "held_out_iou": None},
            {"epoch": 1, "loss": 0.5, "held_out_iou": None}]  # fmt: skip
    iou, loss = curve_figure(rows).data
    assert (list(iou.y), list(loss.y), list(loss.x)) == ([None, None], [None, 0.5], [0, 1])


@pytest.mark.parametrize("ious", [[0.9], [0.02, 0.99], [None]], ids=str)
def test_the_axes_hold_the_whole_curve_from_its_first_point_on(ious: list[float | None]) -> None:
    rows = [{"epoch": n, "epochs": 3, "loss": 1.0, "held_out_iou": iou}
            for n, iou in enumerate(ious)]  # fmt: skip
    layout = curve_figure(rows).layout
    (left, right), (low, high) = layout.xaxis.range, layout.yaxis.range
    assert left < 0 < 3 < right
    assert 0 <= low < high <= 1
    assert all(low <= iou <= high for iou in ious if iou is not None)


def test_the_ledger_is_summed_up_in_words_a_table_and_a_plot() -> None:
    assert "Accept or correct a mask" in summary_text([], 5)
    assert summary_text(ENTRIES, 0) == "3 masks finished, 0 wait for review."
    assert "that is less than a minute" in summary_text(ENTRIES, 1)
    assert "that is 20 minutes" in summary_text(ENTRIES, 200)
    assert "that is 3.3 hours" in summary_text(ENTRIES, 2000)
    rows = pace_table(by_model(ENTRIES), {1: "tuned", None: "no model"}).split("<tr>")[2:]
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    assert cells == [["tuned", "2", "6.0", "2.00", "0.500", "0 %"],
                     ["no model", "1", "6.0", "2.00", "0.500", "0 %"]]  # fmt: skip
    tuned, none, means = pace_figure(ENTRIES, {1: "tuned", None: "no model"}).data
    assert (tuned.name, list(tuned.x), list(tuned.y)) == ("tuned", [1, 3], [3.0, 9.0])
    assert (none.name, list(none.x), list(means.y)) == ("no model", [2], [3.0, 4.5, 6.0])


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_a_job_that_goes_on_has_no_outcome(state: JobState) -> None:
    assert outcome(job(state)) == outcome(None) == ""


def test_a_long_report_is_cut_and_says_so() -> None:
    html = report("Added", [f"line {n}" for n in range(250)], good=False)
    assert html.count("<li>") == 101
    assert "and 150 more" in html


def test_an_import_names_the_images_nobody_has() -> None:
    done = ImportReport(n_images=2, n_masks=5, n_boxes=3, n_known=1, unmatched=["lost.png"])
    title, lines = describe_import(done)
    assert title == "8 instances on 2 images imported"
    assert [line.split()[-1] for line in lines] == ["5", "3", "1", "lost.png"]
    assert "lost.png" in lines[-1]
    assert describe_import(done, dry_run=True)[0].endswith("would be imported; nothing is yet")


def test_an_import_that_cannot_be_done_says_why_and_counts_nothing() -> None:
    found = ImportReport(n_images=2, n_masks=5, problems=["a.json: is not JSON"])
    assert describe_import(found) == ("Nothing can be imported", ["a.json: is not JSON"])


def test_an_export_states_its_proof_and_what_it_left_out() -> None:
    done = ExportReport(
        path=Path("x.zip"),
        format="voc",
        title="Pascal VOC",
        n_images=2,
        n_categories=1,
        n_annotations=5,
        n_compared=5,
        n_exact=4,
        min_iou=0.75,
        mean_iou=0.95,
        loses="overlaps",
        changed=["instance 3 of a: IoU 0.7500"],
        left_out=["instance 9 has no mask"],
        renamed={"a": "a-2"},
    )
    title, lines = describe_export(done)
    assert title == "5 masks on 2 images exported"
    assert "4 of 5 pixel for pixel, smallest IoU 0.750, mean 0.950" in lines[0]
    assert lines[1:] == [
        "Pascal VOC loses: overlaps",
        "instance 9 has no mask",
        "instance 3 of a: IoU 0.7500",
        "a is named a-2 in the export",
    ]


class Failing:
    """A page whose handler fails."""

    _house: House

    @shown(None)
    def act(self, error: Exception) -> None:
        raise error


def test_what_a_person_can_mend_is_said_in_words() -> None:
    with pytest.raises(gr.Error, match="accept some more"):
        Failing().act(NotAllowed("accept some more"))


def test_a_message_is_text_though_gradio_would_render_html() -> None:
    with pytest.raises(gr.Error) as caught:
        Failing().act(BadImage(f"{EVIL} is no image"))
    assert "<" not in caught.value.message


def test_a_mistake_of_ours_is_told_by_reference_only(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(gr.Error) as caught:
        Failing().act(RuntimeError("the insides of /home/ada"))
    assert "ada" not in caught.value.message
    assert caught.value.message.split()[-1] in caplog.text
    assert "the insides of /home/ada" in caplog.text


def test_a_message_made_already_passes_as_it_is() -> None:
    error = gr.Error("as it is")
    with pytest.raises(gr.Error) as caught:
        Failing().act(error)
    assert caught.value is error
