"""Bodies that hold a mask, as a hostile browser would send them; seeded, made by code."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from mal_core.masks import RLE
from tests.core.test_masks import pack

Body = dict[str, Any]
MARK = '"@mask@"'  # where a raw text goes that JSON cannot say


def whole(height: int, width: int, chance: random.Random) -> str:
    """Things of other kinds in the place of a mask, as JSON or nearly."""
    size = f"[{height}, {width}]"
    return chance.choice(
        [
            *("5", "true", '"PPYo"', "[]", "[[1, 2, 3, 4, 5, 6]]", "{}", "NaN", "-Infinity"),
            *('{"counts": "0"}', f'{{"size": {size}}}', f'{{"size": {size}, "counts": null}}'),
            f'{{"size": {size}, "counts": [NaN, {height * width}]}}',
            f'{{"size": {size}, "counts": [1e999]}}',
            f'{{"size": {size}, "counts": "' + "[" * 9 + '"}',
            '{"size": ' + "[" * 5000 + "]" * 5000 + ', "counts": "0"}',
            '{"a":' * 5000 + "1" + "}" * 5000,
            f'{{"size": {size}, "counts": "\\ud800\\u0000\\uffff"}}',
            f'{{"size": {size}, "counts": "0", ',
            f'{{"size": [{10**400}, 1], "counts": "0"}}',
        ]
    )


def sizes(height: int, width: int, chance: random.Random) -> object:
    """The size of another image, or of none."""
    return chance.choice(
        [
            *([width, height], [height + 1, width], [height, width - 1], [height], []),
            *([height, width, 3], [0, width], [-height, -width], [2**31, 2**31], [2**63, 2]),
            *([float(height), float(width)], [str(height), str(width)], [None, None]),
            *([True, True], {"0": height, "1": width}, f"{height}x{width}", None, [16385, 1]),
        ]
    )


def runs(height: int, width: int, chance: random.Random) -> list[int]:
    """Runs that are no cover of the image."""
    pixels, near = height * width, chance.randrange(1, 200)
    return chance.choice(
        [
            *([pixels + 1], [pixels - near], [pixels, near], [pixels + near, -near], [-1] * near),
            *([near, -near, pixels], [2**30] * 5, [0] * near, [2**29, 2**29, pixels - 2**30], []),
        ]
    )


def lists(height: int, width: int, chance: random.Random) -> list[Any]:
    """Uncompressed counts with something in them that is no run."""
    pixels = height * width
    wrong = (-1, 1.5, float(pixels), "7", None, True, [pixels], {}, 2**63, -(2**63), 2**200)
    listed: list[Any] = [10, pixels - 10]
    listed.insert(chance.randrange(3), chance.choice(wrong))
    return listed


def texts(sound: str, height: int, width: int, chance: random.Random) -> str:
    """A sound text with a wound, or none at all."""
    at = chance.randrange(len(sound))
    stray = chance.choice(["p", "~", " ", "/", "\x00", "\x7f", "é", "\U0001f600", "'", "\ud800"])
    return chance.choice(
        [
            sound[:at] + stray + sound[at + 1 :],
            sound[:at],
            sound[at + 1 :],
            sound[:at] + sound[at:] * 2,
            sound[:at] + chr(48 + chance.randrange(64)) + sound[at + 1 :],
            sound + "P",
            "o" * chance.randrange(1, 300),
            "0" * chance.randrange(1, 300_000),
            "ooooooo" + "0",
            pack(runs(height, width, chance)),
        ]
    )


def bad_masks(sound: RLE, seed: str) -> Iterator[str]:
    """Without end, JSON texts that stand for a mask; few of them happen to be sound."""
    chance, height, width = random.Random(seed), sound.height, sound.width
    size = [height, width]
    kinds: tuple[Callable[[], object], ...] = (
        lambda: {"size": sizes(height, width, chance), "counts": sound.counts},
        lambda: {"size": size, "counts": lists(height, width, chance)},
        lambda: {"size": size, "counts": runs(height, width, chance)},
        lambda: {"size": size, "counts": texts(sound.counts, height, width, chance)},
        lambda: {"size": size, "counts": texts(sound.counts, height, width, chance)},
    )
    while True:
        if chance.random() < 0.2:
            yield whole(height, width, chance)
        else:
            yield json.dumps(chance.choice(kinds)())


def strokes(chance: random.Random) -> str:
    """What is no stroke, as JSON or nearly."""
    stroke: Body = {"adds": True, "radius": 5.0, "points": [[20.0, 30.0], [25.0, 30.0]]}
    changes: tuple[Body, ...] = (
        *({"radius": value} for value in (0, -1, 1e9, "x", None, [], 1025)),
        *({"adds": value} for value in (None, "maybe", 5, [])),
        *({"points": value} for value in ([], None, "x", [[1]], [[1, 2, 3]], [["a", "b"]], [[]])),
        {"points": [[1, 2]] * 1025},
        {"points": [[-500, -500]]},
        {"points": [[1e300, 1e300]]},
    )
    text = json.dumps([stroke])
    raw = ("NaN", "5", '"x"', "{}", "[5]", "[[]]", "[null]", json.dumps([stroke] * 65), "[" * 5000,
           text.replace("20.0", "NaN"), text.replace("5.0", "1e999"),
           text.replace("20.0", "-Infinity"))  # fmt: skip
    if chance.random() < 0.4:
        return chance.choice(raw)
    return json.dumps([stroke | chance.choice(changes)])


def with_raw(body: Body, field: str, raw: str) -> bytes:
    """A body with a raw text in the place of one field."""
    text = json.dumps(body | {field: MARK.strip('"')}).replace(MARK, raw)
    return text.encode("utf-8", "surrogatepass")
