"""What a check found, as HTML: facts, findings with a way into the queue, and images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

import orjson

from app.health import TITLES, Kind, Limits, Report, rules
from app.pages.tables import note, report
from app.records import Category, Image

GROUPS, FIGURES, NAMED = 20, 6, 12  # shown: groups, images of a group, images of a list
CHIPS = 12  # shown at once
Address = Callable[[Image], str | None]
"""The "data:" address of an image's thumbnail; None where there is none."""


def facts(found: Report) -> str:
    """The size of the project in numbers."""
    instances, images = int(found.crowds.sum()), len(found.images)
    used = len({category for category, _ in found.categories})
    entries = (
        (f"{images:,}", "image" if images == 1 else "images"),
        (f"{instances:,}", "instance" if instances == 1 else "instances"),
        (f"{instances / max(images, 1):.1f}", "instances an image"),
        (f"{used:,}", "category in use" if used == 1 else "categories in use"),
    )
    items = "".join(f"<li><b>{number}</b> {words}</li>" for number, words in entries)
    return f"<ul class='mal-tally'>{items}</ul>"


def findings(found: Report, categories: Sequence[Category], project_id: int, limits: Limits) -> str:
    """A line a finding, with a button that opens its masks in the queue."""
    words = rules(limits)
    rows = [
        _row(
            TITLES[kind],
            words[kind],
            _places(found, kind),
            _look(project_id, {"finding": kind}, "Look", f"Look at {TITLES[kind].lower()}"),
        )
        for kind in Kind
        if kind in found.found
    ]
    rows += _rare(found, categories, project_id, limits)
    missing = ", ".join(TITLES[kind].lower() for kind in Kind if kind not in found.found)
    listing = f"<ul class='mal-findings'>{''.join(rows)}</ul>" if rows else ""
    rest = note(f"Looked for and not found: {missing}.") if missing else ""
    return listing + rest


def healthy(found: Report) -> str:
    """Whether nothing is wrong with masks and images, in a sentence; "" where something is."""
    if set(found.found) - {Kind.BORDER} or found.alike or found.unseen:
        return ""
    count = int(found.crowds.sum())
    if count == 0:
        return report("No instances to look at yet: draw or import some.", [], good=True)
    return report(f"Nothing wrong found with {count:,} instances.", [], good=True)


def alike(found: Report, project_id: int, address: Address) -> str:
    """Groups of images that look alike, side by side."""
    shown = [
        f"<div class='mal-alike' role='group' aria-label='Group {number}'>"
        + _figures(group[:FIGURES], project_id, address)
        + (note(f"and {len(group) - FIGURES} more") if len(group) > FIGURES else "")
        + "</div>"
        for number, group in enumerate(found.alike[:GROUPS], start=1)
    ]
    rest = len(found.alike) - GROUPS
    more = note(f"and {rest} more groups: mend these first, then check again") if rest > 0 else ""
    return "".join(shown) + more


def images(chosen: Sequence[Image], project_id: int, address: Address) -> str:
    """The first of some images, and how many there are besides."""
    more = note(f"and {len(chosen) - NAMED:,} more") if len(chosen) > NAMED else ""
    return _figures(chosen[:NAMED], project_id, address) + more


def without_instances(found: Report) -> list[Image]:
    """The images nothing is marked on."""
    return [i for i, n in zip(found.images, found.crowds.tolist(), strict=True) if n == 0]


def odd_sizes(found: Report, limits: Limits) -> list[Image]:
    """Images that are small, or much longer than wide."""

    def is_odd(image: Image) -> bool:
        short, long = sorted((image.width, image.height))
        return short < limits.small_side or long > limits.long_aspect * short

    return [image for image in found.images if is_odd(image)]


def section(title: str, rule: str, count: int, body: str) -> str:
    """A finding on images with what belongs to it; "" where there is none."""
    if not count:
        return ""
    head = f"<h2>{escape(title)} <span class='mal-amount'>{count:,}</span></h2>"
    return f"<section class='mal-section'>{head}{note(rule)}{body}</section>"


def _row(title: str, rule: str, count: str, way: str) -> str:
    return (
        f"<li><div><b>{escape(title)}</b>{note(rule)}</div>"
        f"<span class='mal-amount'>{escape(count)}</span>{way}</li>"
    )


def _places(found: Report, kind: Kind) -> str:
    count, places = len(found.found[kind]), found.places[kind]
    return f"{count:,} on {places:,} {'image' if places == 1 else 'images'}"


def _look(project_id: int, wanted: Mapping[str, str | int], text: str, about: str) -> str:
    """A button that opens the masks of a filter in the queue; `about` says what they are."""
    filter_ = escape(orjson.dumps(wanted).decode(), quote=True)
    return (
        f"<button type='button' class='mal-go' data-mal-project='{project_id}'"
        f" data-mal-look='{filter_}' aria-label='{escape(about, quote=True)}'>"
        f"{escape(text)}</button>"
    )


def _rare(
    found: Report, categories: Sequence[Category], project_id: int, limits: Limits
) -> Iterable[str]:
    counts = {category.id: 0 for category in categories}
    for (category_id, _), count in found.categories.items():
        counts[category_id] = counts.get(category_id, 0) + count
    rare = [c for c in categories if 0 < counts[c.id] < limits.few]
    if rare:
        named = [(c, f"{c.name} {counts[c.id]}") for c in sorted(rare, key=lambda c: counts[c.id])]
        buttons = [_look(project_id, {"category_id": c.id}, text, text) for c, text in named]
        rule = f"Fewer than {limits.few} instances; a model learns little of them."
        yield _row("Rare categories", rule, f"{len(rare)}", "") + _chips(buttons)
    if unused := [c.name for c in categories if counts[c.id] == 0]:
        row = _row("Unused categories", "No instance has them.", f"{len(unused)}", "")
        yield row + _chips([escape(name) for name in unused])


def _chips(items: Sequence[str]) -> str:
    """Small things beside each other; many of them are folded away."""
    folded = "" if len(items) > CHIPS else " open"
    listing = "".join(f"<li>{item}</li>" for item in items)
    return (
        f"<li class='mal-wide'><details{folded}><summary>Which</summary>"
        f"<ul class='mal-chips'>{listing}</ul></details></li>"
    )


def _figures(chosen: Sequence[Image], project_id: int, address: Address) -> str:
    figures = "".join(_figure(image, project_id, address) for image in chosen)
    return f"<div class='mal-gallery'>{figures}</div>"


def _figure(image: Image, project_id: int, address: Address) -> str:
    name = escape(image.file_name, quote=True)
    data = address(image)
    picture = f"<img src='{data}' alt='{name}'>" if data else note("The file is missing.")
    return (
        f"<figure>{picture}<figcaption>{name}<br>{image.width} x {image.height}</figcaption>"
        f"<button type='button' class='mal-go' data-mal-project='{project_id}'"
        f" data-mal-image='{image.id}' aria-label='Open {name}'>Open</button></figure>"
    )
