"""What the Health page says: every finding with its way, every plot with its table."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from typing import Any

import numpy as np
import orjson
import pytest

from app.health import TITLES, Kind, Limits, Report
from app.pages import charts, findings
from app.records import Category, Image, State
from tests.studio.conftest import NOW
from tests.studio.test_pages import EVIL

LIMITS = Limits()
IMAGE = Image(7, 1, 1, EVIL, "a" * 64, "b" * 64, "png", 640, 427, None, "", NOW)
IMAGES = [replace(IMAGE, id=7 + n, width=width) for n, width in enumerate((640, 640, 100, 2000))]
CATEGORIES = [Category(n, 1, n, name, "#fff") for n, name in enumerate((EVIL, "cat", "dog"), 1)]
REPORT = Report(
    checked_at=NOW,
    images=IMAGES,
    newest={},
    found={Kind.TINY: {11: 1, 12: 4}, Kind.BORDER: {11: 1}},
    places={Kind.TINY: 2, Kind.BORDER: 1},
    categories={(1, State.ACCEPTED): 3, (1, State.PROPOSED): 1, (2, State.CORRECTED): 12},
    lengths=np.array([3.9, 4.0, 7.99, 12.0], np.float32),
    crowds=np.array([1, 15, 0, 0], np.int64),
    alike=[IMAGES[:2]],
    unseen=[IMAGES[3]],
)
HEALTHY = replace(REPORT, found={}, places={}, alike=[], unseen=[])


def address(image: Image) -> str | None:
    return None if image.id == IMAGES[3].id else "data:image/jpeg;base64,AAAA"


def listed(report: Report) -> str:
    return findings.findings(report, CATEGORIES, 5, LIMITS)


def ways(html: str) -> list[Any]:
    """Where the buttons lead."""
    return [orjson.loads(unescape(text)) for text in re.findall(r"data-mal-look='(.*?)'", html)]


@pytest.mark.parametrize(
    "html",
    [
        pytest.param(listed(REPORT), id="findings"),
        pytest.param(findings.alike(REPORT, 5, address), id="pairs"),
        pytest.param(findings.images(IMAGES, 5, address), id="images"),
        pytest.param(findings.section(EVIL, EVIL, 1, ""), id="section"),
        pytest.param(charts.tables(REPORT, CATEGORIES), id="tables"),
    ],
)
def test_no_name_of_a_file_or_category_becomes_markup(html: str) -> None:
    ours = {"table", "thead", "tbody", "tr", "th", "td", "p", "div", "ul", "li", "b", "span", "br",
            "button", "figure", "img", "figcaption", "section", "h2", "details",
            "summary"}  # fmt: skip
    assert set(re.findall(r"<([a-z0-9]+)", html)) <= ours
    assert "onerror='" not in html
    assert html.count("<") == html.count(">")


def test_each_finding_leads_to_its_masks_and_each_rare_category_to_its_own() -> None:
    html = listed(REPORT)
    assert ways(html) == [{"finding": "tiny"}, {"finding": "border"}, {"category_id": 1}]
    assert set(re.findall(r"data-mal-project='(\d+)'", html)) == {"5"}
    assert ">2 on 2 images<" in html
    assert ">1 on 1 image<" in html
    assert "Fewer than 64 pixels, or narrower than 4 pixels." in html
    assert "<li>dog</li>" in html  # nothing has it


def test_what_was_looked_for_in_vain_is_told() -> None:
    missing = re.search(r"not found: (.*?)\.<", listed(REPORT))
    assert missing is not None
    names = unescape(missing[1]).split(", ")
    assert names == [TITLES[kind].lower() for kind in Kind if kind not in REPORT.found]


@pytest.mark.parametrize(
    ("report", "words"),
    [
        pytest.param(HEALTHY, "Nothing wrong found with 16 instances.", id="healthy"),
        pytest.param(replace(HEALTHY, found={Kind.BORDER: {11: 1}}), "Nothing wrong", id="border"),
        pytest.param(replace(HEALTHY, crowds=np.zeros(4, np.int64)), "draw or import", id="bare"),
        pytest.param(REPORT, None, id="findings"),
        pytest.param(replace(HEALTHY, found={Kind.FAR: {11: 1}}), None, id="one finding"),
        pytest.param(replace(HEALTHY, alike=[IMAGES[:2]]), None, id="a copy"),
        pytest.param(replace(HEALTHY, unseen=IMAGES[:1]), None, id="a damaged image"),
    ],
)
def test_a_healthy_project_is_told_so(report: Report, words: str | None) -> None:
    html = findings.healthy(report)
    assert (words or "") in html
    assert bool(html) == (words is not None)


def test_images_that_look_alike_stand_side_by_side_and_open() -> None:
    html = findings.alike(REPORT, 5, address)
    assert html.count("<figure>") == html.count("<img ") == 2
    assert re.findall(r"data-mal-image='(\d+)'", html) == ["7", "8"]
    many = replace(REPORT, alike=[IMAGES * 3] * 23)
    shown = findings.alike(many, 5, address)
    assert shown.count("role='group'") == findings.GROUPS
    assert shown.count("<figure>") == findings.GROUPS * findings.FIGURES
    assert "and 6 more<" in shown
    assert "and 3 more groups" in shown


def test_an_image_that_cannot_be_shown_says_so_and_a_long_list_is_cut() -> None:
    assert "The file is missing." in findings.images([IMAGES[3]], 5, address)
    assert "and 8 more<" in findings.images(IMAGES * 5, 5, address)
    assert findings.section("Images", "none", 0, "") == ""


def test_bare_and_odd_images_are_those_by_the_limits() -> None:
    assert findings.without_instances(REPORT) == IMAGES[2:]
    assert findings.odd_sizes(REPORT, LIMITS) == IMAGES[2:]
    assert findings.odd_sizes(REPORT, replace(LIMITS, small_side=101)) == IMAGES[2:]
    assert findings.odd_sizes(REPORT, replace(LIMITS, small_side=100, long_aspect=4.69)) == []


@pytest.mark.parametrize(
    ("values", "names", "counts"),
    [
        ([], ["0 and more"], [0]),
        ([0, 1, 1], ["0", "1 and more"], [1, 2]),
        ([1, 4, 5, 9, 900], ["0", "1 to 4", "5 and more"], [0, 2, 3]),
    ],
)
def test_each_value_lies_in_the_bin_that_names_it(
    values: list[int], names: list[str], counts: list[int]
) -> None:
    bins = charts.bins_of(np.array(values, np.int64), [0, 1, 5])
    assert (bins.names, bins.counts) == (names, counts)


def rows(html: str) -> list[list[str]]:
    found = [re.findall(r"<td>(.*?)</td>", row) for row in html.split("<tr>")]
    return [[unescape(cell) for cell in row] for row in found if row]


def test_the_tables_hold_what_the_plots_show() -> None:
    bars = charts.category_figure(REPORT, CATEGORIES).data
    assert list(bars[0].x) == ["cat", EVIL, "dog"]
    assert {bar.name: list(bar.y) for bar in bars} == {
        "accepted": [0, 3, 0], "corrected": [12, 0, 0], "proposed": [0, 1, 0]
    }  # fmt: skip
    figures = (charts.side_figure(REPORT, LIMITS), charts.crowd_figure(REPORT))
    bars_of = [zip(one.data[0].x, one.data[0].y, strict=True) for one in figures]
    shown: Sequence[list[str]] = [
        [str(x), str(y)] for bars in bars_of for x, y in bars
    ]  # fmt: skip
    (dots,) = charts.size_figure(REPORT).data
    sizes = [
        [f"{x} x {y}", str(n)] for x, y, n in zip(dots.x, dots.y, dots.customdata, strict=True)
    ]
    assert rows(charts.tables(REPORT, CATEGORIES)) == [
        ["cat", "12", "0", "12", "0"], [EVIL, "4", "3", "0", "1"], ["dog", "0", "0", "0", "0"],
        *shown, *sizes,
    ]  # fmt: skip
    assert sizes == [["640 x 427", "2"], ["100 x 427", "1"], ["2000 x 427", "1"]]
    assert shown[:3] == [["0 to 3", "1"], ["4 to 7", "2"], ["8 to 11", "0"]]


def test_masks_below_the_line_are_tiny() -> None:
    for area, bins in ((16, 1), (64, 2), (65, 3)):
        figure = charts.side_figure(REPORT, replace(LIMITS, tiny_area=area))
        assert figure.layout.shapes[0].x0 == bins - 0.5


def test_a_project_without_instances_can_be_drawn() -> None:
    bare = replace(REPORT, categories={}, lengths=np.zeros(0, np.float32), found={})
    for figure in (charts.category_figure(bare, []), charts.side_figure(bare, LIMITS)):
        assert figure.to_json()
