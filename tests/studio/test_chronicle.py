"""The history as lines: filtered, taken away as CSV, and any revision brought back."""

import csv
import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from app.chronicle import ENTRY_HEAD, LINE_HEAD, Chronicle, line_to_cells, to_csv
from app.errors import Conflict, NotAllowed, NotFound
from app.records import Line, Sieve, State, Work
from tests.studio.conftest import NOW, Studio, blob


@pytest.fixture
def chronicle(studio: Studio) -> Chronicle:
    """A history of two people, two images, several states and reasons, and a lost race."""
    store = studio.store
    for index, person in ((0, "Bob"), (1, "Ada")):
        made = studio.add(index)
        other = replace(made.draft, state=State.CORRECTED, rle=blob(studio.images[index], 20))
        store.save_instance(made.id, other, 1, person, "brush", NOW, Work(None, 4.25, 2))
        accepted = replace(other, state=State.ACCEPTED, category_id=studio.categories[1].id)
        store.save_instance(made.id, accepted, 2, "Ada", "accept-all 1f", NOW)
        if index == 0:
            with pytest.raises(Conflict):
                store.save_instance(made.id, made.draft, 1, "Bob", "undo", NOW)
    return Chronicle(store, lambda: NOW + timedelta(hours=1))


def lines(studio: Studio, sieve: Sieve, before: int | None = None) -> list[Line]:
    return list(studio.store.list_lines(studio.project.id, sieve, before=before))


def passes(line: Line, sieve: Sieve) -> bool:
    """The rule of a sieve, said once more."""
    return (
        sieve.person in (None, line.person)
        and sieve.reason in (None, line.reason.split(" ")[0])
        and sieve.state in (None, line.state)
        and sieve.text.lower() in line.file_name.lower()
        and sieve.number in (None, line.number)
        and (line.is_conflict or not sieve.conflicts)
    )


@pytest.mark.both
@pytest.mark.usefixtures("chronicle")
def test_every_sieve_lets_through_what_its_rule_says_newest_first(studio: Studio) -> None:
    everything = lines(studio, Sieve())
    assert [line.id for line in everything] == sorted((x.id for x in everything), reverse=True)
    assert len(everything) == 7
    parts = (
        *((None, "Bob", "Ada", "Eve"), (None, "brush", "accept-all", "accept")),
        *((None, State.CORRECTED), ("", "CHELSEA", "_"), (None, 1, 2), (False, True)),
    )
    for person, reason, state, text, number, conflicts in itertools.product(*parts):
        sieve = Sieve(person, reason, state, text, number, conflicts)
        expected = [line for line in everything if passes(line, sieve)]
        assert lines(studio, sieve) == expected, sieve


@pytest.mark.both
@pytest.mark.usefixtures("chronicle")
def test_a_line_says_who_when_why_and_what_it_took(studio: Studio) -> None:
    line = lines(studio, Sieve(person="Bob", reason="brush"))[0]
    assert (line.at, line.person, line.reason) == (NOW, "Bob", "brush")
    assert (line.file_name, line.category, line.state) == ("coffee.png", "thing", State.CORRECTED)
    assert (line.number, line.version, line.seconds, line.strokes) == (1, 2, 4.25, 2)
    assert studio.store.list_savers(studio.project.id) == (
        ["Ada", "Bob"],
        ["accept-all", "box", "brush", "undo"],
    )


@pytest.mark.both
@pytest.mark.usefixtures("chronicle")
def test_pages_of_the_history_follow_one_another(studio: Studio) -> None:
    found: list[Line] = []
    while page := list(
        studio.store.list_lines(
            studio.project.id, Sieve(), before=found[-1].id if found else None, limit=2
        )
    ):
        assert len(page) <= 2
        found += page
    assert found == lines(studio, Sieve())


@pytest.mark.both
def test_any_revision_is_brought_back_as_a_new_one(studio: Studio, chronicle: Chronicle) -> None:
    before = studio.store.list_revisions(1)
    for revision in before:  # the one that lost its race, too
        head = chronicle.restore(revision.id, "Rita")
        assert head.draft == revision.draft
        assert (head.person, head.reason) == ("Rita", f"restore {revision.id}")
    after = studio.store.list_revisions(1)
    assert after[: len(before)] == before
    assert len(after) == 2 * len(before)


def test_a_revision_is_not_restored_under_the_hands_of_somebody_at_work(
    studio: Studio, chronicle: Chronicle
) -> None:
    image = studio.images[0].id
    studio.store.take_lease(image, "Ada", NOW + timedelta(hours=1))
    with pytest.raises(NotAllowed, match="Ada works on this image"):
        chronicle.restore(1, "Rita")
    chronicle.restore(1, "Ada")
    with pytest.raises(NotFound):
        chronicle.restore(99, "Rita")


def test_the_csv_reads_back_as_the_lines(studio: Studio, chronicle: Chronicle) -> None:
    head, *rows = csv.reader(chronicle.history_csv(studio.project.id, Sieve(person="Bob")))
    assert tuple(head) == LINE_HEAD
    assert rows == [line_to_cells(line) for line in lines(studio, Sieve(person="Bob"))]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_cell_is_a_formula(cell: str) -> None:
    _, row = csv.reader(to_csv(["a", "b"], [[cell, 'say "hi", you\nthere']]), strict=True)
    assert row == [f"'{cell}", 'say "hi", you\nthere']


@pytest.mark.both
def test_the_audit_log_is_taken_away_whole(studio: Studio, chronicle: Chronicle) -> None:
    for number in range(3):
        studio.store.add_audit("Ada", "export", NOW, subject=f"{number}", detail={"masks": number})
    studio.store.add_audit("Bob", "import", NOW, project_id=studio.project.id)
    head, *rows = csv.reader(chronicle.audit_csv())
    assert tuple(head) == ENTRY_HEAD
    assert [row[2] for row in rows] == ["import", "export", "export", "export"]
    assert rows[1][4:] == ["2", '{"masks":2}']
    assert len(list(chronicle.audit_csv(studio.project.id))) == 2
