"""What the Insight page says of images that several people did: figures, pictures, choices."""

import re

import numpy as np
import pytest

from app.agreement import Shape
from app.assignments import Tally
from app.consensus import things_of
from app.errors import NotAllowed
from app.merging import (
    AGREEMENT_HEAD,
    CONSENSUS,
    LEAVE,
    Compared,
    Preview,
    agreement_rows,
    pairwise,
)
from app.pages.agreement import blind_html, images_html, matrix_html
from app.pages.assign import tally_html, whom
from app.pages.merge import compared_html, preview_html, to_choices
from app.records import Assignment
from mal_core.masks import RLE, encode
from tests.studio.conftest import NOW

EVIL = "<img src=x onerror='alert(1)'>"
PIXELS = np.zeros((40, 50, 3), np.uint8)
CATEGORIES = {1: EVIL, 2: "cat"}


def square(x0: int, size: int = 10) -> RLE:
    return encode(np.ones((size, size), np.bool_), x0=x0, y0=5, height=40, width=50)


def compared(image: int = 1, *, shift: int = 0, act: str = "", done: bool = True) -> Compared:
    """Ann and Bob found one thing, `shift` apart; one as two kinds; Ann one more."""
    ann = [Shape(1, 1, square(0)), Shape(2, 1, square(15)), Shape(3, 1, square(30))]
    bob = [Shape(4, 1, square(shift)), Shape(5, 2, square(15))]
    people = {"Ann": ann, EVIL: bob}
    return Compared(image, tuple(sorted(people)), done, act, things_of(people), {"Ann": 2, EVIL: 0})


def selects(html: str) -> dict[str, list[str]]:
    """The values that can be chosen of each thing; the chosen one first."""
    found = {}
    for key, body in re.findall(r"data-mal-thing='([^']+)'>(.*?)</select>", html):
        options = re.findall(r"<option value='([^']*)'( selected)?", body)
        found[key] = [v for v, chosen in sorted(options, key=lambda option: not option[1])]
    return found


def test_each_thing_has_its_choices_and_only_agreement_is_chosen_already() -> None:
    one = compared()
    found = selects(compared_html(one, CATEGORIES, PIXELS))
    keys = [one.key_of(thing) for thing in one.things]
    assert set(found) == set(keys)
    assert found[keys[0]][0] == CONSENSUS
    for key, wanted in ((keys[1], 2), (keys[2], 1)):
        assert found[key][0] == ""
        assert CONSENSUS not in found[key]
        assert LEAVE in found[key]
        assert len(found[key]) == 2 + wanted


def test_a_comparison_shows_each_side_and_escapes_what_people_wrote() -> None:
    html = compared_html(compared(), CATEGORIES, PIXELS)
    assert html.count("<figure") == html.count("data:image/jpeg") == 6
    assert "nothing here" in html
    assert "Two kinds of thing" in html
    assert "Only Ann saw it" in html
    assert "Ann left 2 proposals undecided" in html
    assert "<img src=x" not in html


def test_who_left_with_images_can_still_be_chosen_so_that_they_are_taken_back() -> None:
    known = [Assignment(1, "Bob", "Pat", NOW, None), Assignment(1, "Gone", "Pat", NOW, None)]
    assert whom(["Ann", "Bob"], known) == ["Ann", "Bob", "Gone"]


@pytest.mark.parametrize("state", [{"act": "x"}, {"done": False}], ids=["merged", "not done"])
def test_what_is_merged_or_not_done_is_only_looked_at(state: dict[str, object]) -> None:
    assert "<select" not in compared_html(compared(**state), CATEGORIES, PIXELS)  # type: ignore[arg-type]


def test_the_matrix_is_the_same_both_ways_and_empty_with_oneself() -> None:
    html = matrix_html("IoU", pairwise([compared()]), lambda one: one.iou)
    assert re.findall(r"<td[^>]*>([^<]*)</td>", html) == ["", "-", "1.00", "1.00", "-"]
    assert html.count("--share: 100%") == 2
    assert "<img" not in html


def test_images_come_the_least_alike_first_and_lead_to_their_comparison() -> None:
    html = images_html([compared(1), compared(2, shift=3), compared(3)], {1: "b", 2: "c", 3: "a"})
    assert re.findall("data-mal-compare='(\\d)'", html) == ["2", "3", "1"]
    assert "2 found by both, 1 by one, IoU" in html


def test_where_nobody_is_done_the_page_says_what_to_do() -> None:
    assert "give a share of the images to two people" in blind_html([], {})
    assert "No image waits to be merged" in preview_html(Preview({}, []), {})
    assert "deal the images out" in tally_html([], [], [])


def test_a_preview_names_what_a_person_must_decide() -> None:
    html = preview_html(Preview({1: 2, 2: 3}, [7]), {7: EVIL})
    assert "2 images with 5 objects would be merged" in html
    assert "&lt;img" in html


def test_the_figures_are_a_row_for_two_people_and_one_for_each_image() -> None:
    rows = list(agreement_rows([compared(1), compared(2, act="x")], {1: "a", 2: "b"}))
    assert [row[2] for row in rows] == ["", "a", "b"]
    assert all(len(row) == len(AGREEMENT_HEAD) for row in rows)
    assert rows[0][3:8] == ["2", "4", "0", "2", "0.8000"]


def test_a_person_s_row_says_what_is_left() -> None:
    html = tally_html([Tally(EVIL, 5, 2, 1)], [], [])
    assert re.findall(r"<td>(\d)</td>", html) == ["5", "2", "3", "1"]
    assert "<img" not in html


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', "7"])
def test_what_a_browser_should_not_send_is_refused(text: str) -> None:
    with pytest.raises(NotAllowed, match="reload the page"):
        to_choices(text)


def test_choices_read_back() -> None:
    assert to_choices('{"1-a": "Ann"}') == {"1-a": "Ann"}
    assert to_choices("") == {}
