"""Run codes by the ten thousand: sound ones equal pycocotools, all others are refused."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mal_core.errors import BadMask
from mal_core.masks import RLE, decode, encode
from tests.core.test_masks import pack

pytestmark = pytest.mark.soak


@st.composite
def runs_of(draw: st.DrawFn, pixels: int) -> list[int]:
    """Runs that cover an image, and often a wound in them."""
    cuts = sorted(draw(st.lists(st.integers(0, pixels), max_size=12)))
    runs = [b - a for a, b in zip([0, *cuts], [*cuts, pixels], strict=True)]
    if draw(st.booleans()):
        at = draw(st.integers(0, len(runs) - 1))
        runs[at] += draw(st.sampled_from([-(2**40), -pixels, -1, 1, pixels, 2**31, 2**34, 2**62]))
    return runs


@st.composite
def values(draw: st.DrawFn) -> dict[str, object]:
    """A segmentation object; about every second one is sound."""
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    runs = draw(runs_of(height * width))
    text = pack(runs)
    kind = draw(st.integers(0, 4))
    if kind == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=3)) + text[at + draw(st.integers(0, 2)) :]
    elif kind == 1:
        text = draw(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=30))
    size = (
        [height, width]
        if draw(st.integers(0, 9))
        else draw(st.sampled_from([[width, height], [0, 5]]))
    )
    return {"size": size, "counts": runs if kind == 2 else text}


def reference(value: dict[str, object]) -> list[int] | None:
    """The runs that a value means, read one character after the other; None if it means none."""
    (height, width), counts = value["size"], value["counts"]
    runs = counts if isinstance(counts, list) else read(str(counts))
    if not (height and width) or runs is None or any(run < 0 for run in runs):
        return None
    return runs if sum(runs) == height * width else None


def read(text: str) -> list[int] | None:
    """COCO's packed numbers, by the letter; six characters hold any run of an image."""
    runs: list[int] = []
    number = place = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code <= 63 or place == 6:
            return None
        number |= (code & 31) << (5 * place)
        place += 1
        if not code & 32:
            if code & 16:
                number -= 1 << (5 * place)
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = place = 0
    return None if place or not runs else runs


def test_what_is_sound_equals_pycocotools_and_nothing_else_passes(
    scale: Callable[[int, int], int], tell: Callable[[str], None]
) -> None:
    """pycocotools sees only what passed: it crashes on the rest."""
    seen = {True: 0, False: 0}

    @settings(
        max_examples=scale(300, 10_000), deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(values())
    def check(value: dict[str, object]) -> None:
        wanted = reference(value)
        seen[wanted is not None] += 1
        if wanted is None:
            with pytest.raises(BadMask):
                RLE.from_coco(value)
            return
        rle = RLE.from_coco(value)
        theirs = coco_mask.decode(rle.to_coco()).astype(np.bool_)
        ours = np.repeat(np.arange(len(wanted)) % 2 == 1, wanted).reshape(rle.width, rle.height).T
        assert np.array_equal(theirs, ours)
        assert np.array_equal(decode(rle), ours)
        again = coco_mask.encode(np.asfortranarray(ours.astype(np.uint8)))
        assert rle.counts == again["counts"].decode()
        assert encode(ours, height=rle.height, width=rle.width) == rle

    check()
    assert min(seen.values()) > sum(seen.values()) / 10
    tell(f"{seen[True]} sound and equal to pycocotools, {seen[False]} refused")
