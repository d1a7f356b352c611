"""Images that look alike, by a perceptual hash of 64 bits.

Source: pHash, the signs of an image's lowest frequencies, as in the ImageHash package.
"""

from collections.abc import Iterator, Sequence

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as PilImage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_PAIRS = 2**18  # that are looked at at a time
Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]


def hash_of(picture: PilImage) -> int:
    """The hash of an image, 64 bits: near for images that look alike, whatever their size."""
    return int(str(imagehash.phash(picture)), 16)


def alike(hashes: Sequence[int], bits: int) -> list[list[int]]:
    """Groups of images, each linked to another of its group by hashes that hardly differ.

    Args:
        hashes: (N) of 64 bits.
        bits: the most in which two linked hashes differ.

    Returns:
        Indices, ascending in each group; groups of two or more, by their first.
    """
    if not hashes:
        return []
    unique, which = np.unique(np.array(hashes, np.uint64), return_inverse=True)
    one, other = (np.concatenate(side) for side in zip(*_near(unique, bits), strict=True))
    count = unique.size
    graph = coo_array((np.ones(one.size, np.bool_), (one, other)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = {}
    for index, group in enumerate(label[which].tolist()):
        groups.setdefault(group, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _near(unique: Hashes, bits: int) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of different hashes that differ in few bits, a block of rows at a time."""
    rows_at_once = max(1, _PAIRS // unique.size)
    for start in range(0, unique.size, rows_at_once):
        rest = unique[start:]  # each pair once, but for those within the block
        apart = np.bitwise_count(rest[:rows_at_once, None] ^ rest[None, :])
        rows, columns = np.nonzero(apart <= bits)
        yield rows + start, columns + start
