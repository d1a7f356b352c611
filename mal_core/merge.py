"""The answers of all shards, put into the COCO document that asked for them."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from mal_core import coco
from mal_core.coco import Dataset
from mal_core.errors import BadDataset
from mal_core.files import move_whole
from mal_core.shards import ERROR, FLAGGED, Answer, Header, Shard, Shelf

SHARDS_KEPT = 64  # in memory while the new file is written


class Merger:
    """Puts answers into a COCO document, an annotation at a time.

    Args:
        dataset: what the document says.
        shards: of all its boxes that wanted a mask.
        shelf: where their answers are.
        bad_boxes: by annotation, why its bbox could not be used.
        header: what made the answers.

    Attributes:
        tally: annotations so far by fate: labelled, flagged (of these), failed, kept.
    """

    def __init__(
        self,
        dataset: Dataset,
        shards: Sequence[Shard],
        shelf: Shelf,
        bad_boxes: Mapping[int, str],
        header: Header,
    ) -> None:
        self._images = {image.id: image for image in dataset.images}
        self._shard_of = {image.id: shard.name for shard in shards for image, _ in shard.work}
        self._bad_boxes = bad_boxes
        self._header = header
        self._shelf = shelf
        self._answers = lru_cache(SHARDS_KEPT)(self._read)
        self.tally = Counter(labelled=0, flagged=0, failed=0, kept=0)

    def parts(self, document: dict[str, Any]) -> Iterator[bytes]:
        """The new document as JSON, in pieces; other fields stay as and where they are."""
        document.pop("mal_label", None)
        for number, (name, value) in enumerate(document.items()):
            yield (b"," if number else b"{") + orjson.dumps(name) + b":"
            if name != "annotations":
                yield orjson.dumps(value)
                continue
            for place, entry in enumerate(value):
                yield (b"," if place else b"[") + orjson.dumps(self._merge(entry))
            yield b"]" if value else b"[]"
        yield b',"mal_label":' + orjson.dumps({**self._header, **self.tally}) + b"}"

    def _merge(self, entry: dict[str, Any]) -> dict[str, Any]:
        """One annotation with its answer, if it has one."""
        name = self._shard_of.get(entry["image_id"])
        answer = None if name is None else self._answers(name).get(entry["id"])
        if entry["id"] in self._bad_boxes:
            answer = {ERROR: self._bad_boxes[entry["id"]]}
        if answer is None:
            self.tally["kept"] += 1
            return coco.fill_in(entry, self._images[entry["image_id"]])
        self.tally["failed" if ERROR in answer else "labelled"] += 1
        self.tally["flagged"] += bool(answer.get(FLAGGED))
        stale = {ERROR}
        if FLAGGED in entry and ERROR not in answer:  # an earlier mask's, which goes
            stale |= {FLAGGED, "score"}
        rest = {name: value for name, value in entry.items() if name not in stale}
        return coco.fill_in({**rest, **answer}, self._images[entry["image_id"]])

    def _read(self, name: str) -> dict[int, Answer]:
        found = self._shelf.get(name)
        return {answer["id"]: answer for answers in found.values() for answer in answers}


def write_merged(data: Path, sha256: str, out: Path, merger: Merger) -> Mapping[str, int]:
    """Write the new file in pieces, so that a crash leaves the old one or the new one.

    Args:
        data: the document, read again.
        sha256: of its bytes when its boxes were read.
        out: the new file.
        merger: the answers.

    Returns:
        Annotations by fate, as `Merger.tally`.

    Raises:
        BadDataset: the document changed meanwhile.
        OSError: the disk is full, or refuses.
    """
    content = data.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadDataset([f"{data.name} changed while it was being labelled: start anew"])
    document = orjson.loads(content)
    del content
    draft = out.with_name(f"{out.name}.new")
    try:
        with draft.open("wb") as file:
            file.writelines(merger.parts(document))
        move_whole(draft, out)
    finally:
        draft.unlink(missing_ok=True)
    return dict(merger.tally)
