"""An import beside people at work: what is replaced, what holds whom up, and how far it is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as Pil

from app.errors import NotAllowed
from app.exchange import Importer, ImportReport, get_format, silent
from app.records import Change, Draft, Image, NewInstance, Project, State
from app.store import Store
from mal_core import coco
from mal_core.errors import BadMask
from mal_core.masks import RLE, encode
from tests.studio.trade import HEIGHT, NOW, WIDTH, Trade, disc


def whole(pixels: object) -> RLE:
    return encode(pixels, height=HEIGHT, width=WIDTH)  # type: ignore[arg-type]


OLD, NEW = whole(disc(20, 15, 8)), whole(disc(20, 15, 8) & ~disc(20, 15, 2))
MINE = whole(disc(20, 15, 8) & ~disc(20, 15, 1))
OTHER, SMALL = whole(disc(6, 6, 3)), whole(disc(33, 5, 2))


@pytest.fixture
def project(trade: Trade) -> Project:
    return trade.project()


@pytest.fixture
def image(trade: Trade, project: Project) -> Image:
    return trade.image(project, "a.jpg")


def add(
    trade: Trade, project: Project, image: Image, rle: RLE | None, state: State = State.ACCEPTED
) -> int:
    category = trade.store.add_category(project.id, "leaf")
    draft = Draft(State.PROPOSED, category.id, (12.0, 7.0, 29.0, 24.0), rle)
    added = trade.store.add_instance(image.id, draft, "Bo", "", NOW)
    trade.store.save_instance(added.id, replace(draft, state=state), 1, "Bo", "review", NOW)
    return added.id


def dataset(*masks: RLE) -> coco.Dataset:
    """These masks on a.jpg."""
    notes = [
        coco.Annotation(n, 5, 90, (0.0, 0.0, 9.0, 9.0), rle) for n, rle in enumerate(masks, start=1)
    ]
    images = [coco.ImageRecord(5, "a.jpg", WIDTH, HEIGHT)]
    return coco.Dataset(images, [coco.CategoryRecord(90, "leaf")], notes)


def bring(
    trade: Trade,
    project: Project,
    *masks: RLE,
    tell: Callable[[str, int, int], None] = silent,
    take: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """Import a file that holds these masks on a.jpg; `take`: instead of the project's."""
    path = trade.settings.data_dir / "incoming.json"
    coco.save(dataset(*masks), path)
    importer = Importer(trade.settings, trade.store, tell)
    return importer.run(
        project.id,
        get_format("coco"),
        [path],
        person="Ada",
        now=NOW,
        dry_run=dry_run,
        replace=take,
    )


@pytest.mark.parametrize("state", [State.ACCEPTED, State.CORRECTED])
def test_a_replaced_mask_is_a_new_revision_and_the_old_one_can_be_restored(
    trade: Trade, project: Project, image: Image, state: State
) -> None:
    key = add(trade, project, image, OLD, state)
    looked = bring(trade, project, NEW, OTHER, take=True, dry_run=True)
    assert trade.store.get_instance(key).draft.rle == OLD
    report = bring(trade, project, NEW, OTHER, take=True)
    assert looked == report == ImportReport(n_images=1, n_masks=1, n_replaced=1)
    head = trade.store.get_instance(key)
    assert (head.version, head.person, head.reason) == (3, "Ada", "import")
    assert (head.draft.state, head.draft.rle) == (State.ACCEPTED, NEW)
    old = trade.store.list_revisions(key)[1].draft
    assert (old.state, old.rle) == (state, OLD)
    assert trade.store.save_instance(key, old, 3, "Bo", "restore", NOW).draft.rle == OLD
    assert len(trade.store.list_instances(image.id)) == 2


@pytest.mark.parametrize("state", [State.REJECTED, State.DELETED])
def test_what_a_person_took_out_is_not_replaced(
    trade: Trade, project: Project, image: Image, state: State
) -> None:
    key = add(trade, project, image, OLD, state)
    report = bring(trade, project, NEW, take=True)
    assert (report.n_replaced, len(report.conflicts)) == (0, 1)
    assert trade.store.get_instance(key).version == 2


def test_nothing_is_replaced_unless_it_was_asked_for(
    trade: Trade, project: Project, image: Image
) -> None:
    key = add(trade, project, image, OLD)
    assert bring(trade, project, NEW).n_replaced == 0
    assert trade.store.get_instance(key).draft.rle == OLD


@pytest.mark.parametrize("take", [False, True])
def test_what_a_person_saves_while_the_file_is_read_is_not_overwritten_unseen(
    trade: Trade, project: Project, image: Image, take: bool
) -> None:
    """At the look it was a proposal, which a mask fills; then a person corrected it."""
    key = add(trade, project, image, OLD, State.PROPOSED)
    person = Store(trade.settings.database)  # another connection: nothing holds it up

    def meanwhile(what: str, _: int, __: int) -> None:
        if what == "writing":
            head = person.get_instance(key)
            mine = replace(head.draft, state=State.CORRECTED, rle=MINE)
            person.save_instance(key, mine, head.version, "Bo", "brush", NOW)

    report = bring(trade, project, NEW, tell=meanwhile, take=take)
    person.close()
    facts = (report.n_filled, report.n_replaced, len(report.conflicts))
    assert facts == ((0, 1, 0) if take else (0, 0, 1))
    corrected = trade.store.list_revisions(key)[2]
    assert (corrected.draft.rle, corrected.is_conflict) == (MINE, False)
    assert trade.store.get_instance(key).version == (4 if take else 3)


def test_what_a_person_adds_while_the_file_is_read_is_not_doubled(
    trade: Trade, project: Project, image: Image
) -> None:
    person = Store(trade.settings.database)

    def meanwhile(what: str, _: int, __: int) -> None:
        if what == "writing":  # with the category, which was new to the file as well
            category = person.add_category(project.id, "Leaf")
            draft = Draft(State.CORRECTED, category.id, (12.0, 7.0, 29.0, 24.0), NEW)
            person.add_instance(image.id, draft, "Bo", "", NOW)

    report = bring(trade, project, NEW, OTHER, tell=meanwhile)
    person.close()
    assert (report.n_known, report.n_masks) == (1, 1)
    assert [rle for _, _, d in trade.drafts(project) if (rle := d.rle)] == [NEW, OTHER]
    assert [c.name for c in trade.store.list_categories(project.id)] == ["Leaf"]


def test_it_tells_each_image_it_has_read_and_that_it_writes(
    trade: Trade, project: Project, image: Image
) -> None:
    for name in ("b.jpg", "c.jpg"):
        trade.image(project, name)
    told: list[tuple[str, int, int]] = []
    bring(trade, project, OLD, tell=lambda *what: told.append(what))
    assert told == [("reading", 1, 3), ("writing", 0, 1)]


@pytest.mark.parametrize("comes_along", [False, True])
def test_an_image_of_two_files_is_compared_with_what_the_first_brought(
    trade: Trade, project: Project, tmp_path: Path, comes_along: bool
) -> None:
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    if comes_along:
        Pil.new("RGB", (WIDTH, HEIGHT), "teal").save(folder / "images" / "a.jpg")
    else:
        image = trade.image(project, "a.jpg")
        add(trade, project, image, None, State.PROPOSED)
    for name, masks in {"one": [OLD, OTHER], "two": [OTHER, NEW, SMALL]}.items():
        coco.save(dataset(*masks), folder / f"{name}.json")
    report = trade.bring(project, "coco", folder)
    assert (report.n_masks + report.n_filled, report.n_known) == (3, 1)
    assert len(report.conflicts) == 1  # the second outline of an object
    assert {d.rle for _, _, d in trade.drafts(project)} == {OLD, OTHER, SMALL}


def test_many_changes_at_once_are_all_made_or_none(
    trade: Trade, project: Project, image: Image
) -> None:
    keys = [add(trade, project, image, rle) for rle in (OLD, OTHER)]
    drafts = [trade.store.get_instance(key).draft for key in keys]
    fine = [Change(key, 2, draft) for key, draft in zip(keys, drafts, strict=True)]
    turned = encode(disc(9, 9, 3)[:, :30], height=WIDTH, width=HEIGHT)
    new = [NewInstance(image.id, drafts[0])]
    for bad, error in (
        (replace(fine[1], version=1), NotAllowed),
        (replace(fine[1], instance_id=99), NotAllowed),
        (replace(fine[1], draft=replace(drafts[1], rle=turned)), BadMask),
    ):
        with pytest.raises(error):
            trade.store.bring(new, [fine[0], bad], "Ada", "import", NOW)
        assert [trade.store.get_instance(key).version for key in keys] == [2, 2]
    first = trade.store.bring(new, fine, "Ada", "import", NOW)
    assert [trade.store.get_instance(key).version for key in keys] == [3, 3]
    assert trade.store.get_instance(first).draft == drafts[0]
