"""What counts as a finding: the kinds, the limits between them and what is fine, and the words."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Limits:
    """Where a finding begins; every one stands on the page, in words.

    Attributes:
        tiny_area: pixels; a mask with fewer is tiny.
        tiny_side: pixels; so is one whose tight box is narrower.
        huge_share: of the image; a mask that covers more is huge.
        hollow_share: of the box; a mask that fills less of its box is hollow.
        box_iou: of the box and the mask's tight box; they disagree below it.
        leak_share: of the mask; one with more of it outside the box leaks.
        speck_share: of the mask; a part that holds less, beside a larger one, is a speck.
        far_sides: longer sides of the largest part's box; a part farther off is far.
        double_iou: from this on, two masks of one category are one object drawn twice.
        overlap_iou: from this on, two masks share too much.
        nested_share: of the smaller of two masks of one category; inside the larger from it on.
        few: instances; a category with fewer is rare.
        alike_bits: of the 64 of two images' hashes; as many may differ where they look alike.
        small_side: pixels of an image's shorter side; an image below it is small.
        long_aspect: longer side to shorter; an image above it is long.
    """

    tiny_area: int = 64
    tiny_side: int = 4
    huge_share: float = 0.9
    hollow_share: float = 0.05
    box_iou: float = 0.7
    leak_share: float = 0.05
    speck_share: float = 0.01
    far_sides: float = 1.0
    double_iou: float = 0.7
    overlap_iou: float = 0.5
    nested_share: float = 0.9
    few: int = 10
    alike_bits: int = 6
    small_side: int = 128
    long_aspect: float = 4.0


class Kind(StrEnum):
    """What may be wrong with an instance; one instance may have several."""

    EMPTY = "empty"
    NO_MASK = "no-mask"
    DOUBLE = "double"
    NESTED = "nested"
    OVERLAP = "overlap"
    TINY = "tiny"
    HUGE = "huge"
    BOX = "box"
    LEAK = "leak"
    HOLLOW = "hollow"
    SPECKS = "specks"
    FAR = "far"
    BORDER = "border"


TITLES: Mapping[Kind, str] = {
    Kind.EMPTY: "Empty masks",
    Kind.NO_MASK: "Boxes without a mask",
    Kind.DOUBLE: "Probably drawn twice",
    Kind.NESTED: "One inside another",
    Kind.OVERLAP: "Overlapping masks",
    Kind.TINY: "Tiny masks",
    Kind.HUGE: "Huge masks",
    Kind.BOX: "Box and mask disagree",
    Kind.LEAK: "Masks that leave their box",
    Kind.HOLLOW: "Boxes hardly filled",
    Kind.SPECKS: "Masks with specks",
    Kind.FAR: "Parts far apart",
    Kind.BORDER: "Cut by the image's border",
}


def rules(limits: Limits) -> Mapping[Kind, str]:
    """Each kind in a sentence, with its limits and their units."""
    one = limits
    return {
        Kind.EMPTY: "The mask has no pixel.",
        Kind.NO_MASK: "Nobody has drawn or proposed a mask for the box yet.",
        Kind.DOUBLE: f"Two masks of one category on one image share {_percent(one.double_iou)}"
        " or more of their union.",
        Kind.NESTED: f"{_percent(one.nested_share)} or more of a mask lie inside a larger one of"
        " its category.",
        Kind.OVERLAP: f"Two masks share {_percent(one.overlap_iou)} or more of their union.",
        Kind.TINY: f"Fewer than {one.tiny_area} pixels, or narrower than {one.tiny_side} pixels.",
        Kind.HUGE: f"More than {_percent(one.huge_share)} of the image.",
        Kind.BOX: "The box and the smallest box around the mask share less than"
        f" {_percent(one.box_iou)} of their union. Corrected masks may outgrow their box and do"
        " not count.",
        Kind.LEAK: f"More than {_percent(one.leak_share)} of the mask lie outside its box."
        " Corrected masks do not count.",
        Kind.HOLLOW: f"The mask fills less than {_percent(one.hollow_share)} of its box.",
        Kind.SPECKS: f"A part holds less than {_percent(one.speck_share)} of the mask's pixels.",
        Kind.FAR: "A part is farther from the largest one than"
        f" {_times(one.far_sides)}the longer side of that one's box.",
        Kind.BORDER: "The mask touches the image's border. That is no fault: the object may go on"
        " outside.",
    }  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _times(factor: float) -> str:
    return "" if factor == 1 else f"{factor:g} times "
