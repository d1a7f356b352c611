"""Label generation: the boxes of a COCO file become masks, one image at a time.

Work is journalled beside the new file, which is written whole at the very end: a killed run goes
on where it stopped, and ends in the same bytes as one that was never killed.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mal_core import coco
from mal_core.calibrate import Calibration, features
from mal_core.coco import Annotation, Dataset, ImageRecord
from mal_core.config import LabelConfig
from mal_core.dataset import load_image
from mal_core.errors import BadBox, BadDataset, BadImage, InputError
from mal_core.files import move_whole
from mal_core.geometry import Image, check_boxes
from mal_core.journal import Journal
from mal_core.masks import RLE
from mal_core.predictor import BATCH, Prediction, Predictor

CHUNK = 4 * BATCH  # boxes of one image whose probabilities are in memory together
LINES_KEPT = 256  # journal lines in memory while the new file is written
ERROR, FLAGGED = "mal_error", "mal_flagged"

Answer = dict[str, Any]
Event = Mapping[str, Any]
Work = Sequence[tuple[ImageRecord, Sequence[Annotation]]]


@dataclass(frozen=True)
class Row:
    """The answers for one image.

    Attributes:
        image: its record.
        answers: for each box the annotation's new fields and its id, JSON-ready: segmentation,
            area, mal_flagged and, where asked for, score; or mal_error alone.
    """

    image: ImageRecord
    answers: Sequence[Answer]


@dataclass(frozen=True)
class Labeller:
    """What turns boxes into answers.

    Attributes:
        predictor: the network.
        config: what is made and said.
        calibration: of its scores; None: they stay as the network has them.
    """

    predictor: Predictor
    config: LabelConfig
    calibration: Calibration | None = None

    @property
    def header(self) -> Mapping[str, Any]:
        """What an answer depends on besides the data, JSON-ready."""
        used = self.calibration if self.config.score else None
        return {
            "weights": self.predictor.checkpoint.sha256,
            "settings": asdict(self.config),
            "refine": asdict(self.predictor.refine),
            "calibration": None if used is None else asdict(used),
        }

    def label(
        self, dataset: Dataset, folder: Path, *, done: Container[int] = frozenset()
    ) -> Iterator[Row]:
        """Label every box that wants a mask; memory holds two images and CHUNK masks at most.

        Args:
            dataset: images and boxes; crowds, and with `relabel` off masks, are left alone.
            folder: where the image files are. One that cannot be used gives errors, and no more.
            done: ids of images to leave out.

        Yields:
            A row an image, in the order of the file.
        """
        work = [pair for pair in self.work(dataset) if pair[0].id not in done]
        for record, annotations, image in _read_ahead(work, folder):
            if isinstance(image, str):
                yield Row(record, [{"id": a.id, ERROR: image} for a in annotations])
            else:
                yield Row(record, self._answer(image, annotations))

    def work(self, dataset: Dataset) -> Work:
        """The images with boxes that want a mask, and those boxes."""
        pairs = [(i, [a for a in found if self._wants(a)]) for i, found in dataset.by_image()]
        return [(image, annotations) for image, annotations in pairs if annotations]

    def _wants(self, annotation: Annotation) -> bool:
        has_mask = annotation.rle is not None and annotation.rle.area > 0
        is_answered = has_mask or FLAGGED in annotation.extra  # an answer may be empty
        return not annotation.iscrowd and (self.config.relabel or not is_answered)

    def _answer(self, image: Image, annotations: Sequence[Annotation]) -> list[Answer]:
        """One answer a box; a box that cannot be used costs the others nothing."""
        answers: list[Answer] = []
        sound: list[Annotation] = []
        for annotation in annotations:
            try:
                check_boxes([annotation.box], *image.shape[:2])
                sound.append(annotation)
            except BadBox as error:
                answers.append({"id": annotation.id, ERROR: str(error)})
        for start in range(0, len(sound), CHUNK):
            answers += self._predict(image, sound[start : start + CHUNK])
        return answers

    def _predict(self, image: Image, annotations: Sequence[Annotation]) -> Iterator[Answer]:
        prediction = self.predictor.predict(image, [a.box for a in annotations])
        if self.config.threshold is not None:
            prediction = replace(prediction, threshold=self.config.threshold)
        masks = prediction.masks()
        scores = self._scores(prediction, masks) if self.config.score else None
        for index, (annotation, rle) in enumerate(zip(annotations, masks, strict=True)):
            answer = {"id": annotation.id, "segmentation": rle.to_coco(), "area": rle.area}
            answer[FLAGGED] = prediction.flagged(rle, index)
            if scores is not None:
                answer["score"] = round(float(scores[index]), 4)
            yield answer

    def _scores(self, prediction: Prediction, masks: Sequence[RLE]) -> NDArray[np.floating]:
        if self.calibration is None:
            return prediction.scores
        return self.calibration.apply(features(prediction, masks))


def label_file(
    data: Path, folder: Path, out: Path, labeller: Labeller, *, restart: bool = False
) -> Iterator[Event]:
    """Label a COCO file into a new one; stop iterating to stop, run again to go on.

    Args:
        data: a COCO file with boxes.
        folder: where its image files are.
        out: the new file. Beside it `out`.part, the journal, lies while the work is unfinished.
        labeller: the network and what is asked of it.
        restart: begin anew, whatever journal there is.

    Yields:
        JSON-ready events, in order: "start" {images, boxes, resumed}, `resumed` images being done;
        for each image one "error" {annotation, file_name, reason} a box that got no mask, then
        "image" {done, total, file_name, boxes, failed}; "saved" {file, labelled, flagged, failed,
        kept, seconds, boxes_per_second}, counts of the whole file, speed of this run.

    Raises:
        BadDataset: the file breaks the format, or changed while it was being labelled.
        InputError: a journal of another run is there; or there were boxes, and none got a mask.
        OSError: the disk is full, or refuses.
    """
    content = data.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    bad_boxes: dict[int, str] = {}
    dataset = coco.read(content, bad_boxes)
    del content
    header = {"label": 1, "data": sha256, **labeller.header}
    journal_path = out.with_name(f"{out.name}.part")
    with Journal.open(journal_path, header, restart=restart) as journal:
        begin = time.perf_counter()
        answered = 0
        for event in _work(dataset, folder, labeller, journal, bad_boxes):
            answered += event.get("boxes", 0) if event["event"] == "image" else 0
            yield event
        seconds = time.perf_counter() - begin
        _check_some(journal, bad_boxes)
        tally = _write(data, sha256, out, _Merger(dataset, journal, bad_boxes, labeller.header))
        journal.remove()
    speed = {
        "seconds": round(seconds, 2),
        "boxes_per_second": round(answered / max(seconds, 1e-9), 2),
    }
    yield {"event": "saved", "file": out.name, **tally, **speed}


def _work(
    dataset: Dataset,
    folder: Path,
    labeller: Labeller,
    journal: Journal,
    bad_boxes: Mapping[int, str],
) -> Iterator[Event]:
    """Label what the journal lacks; images with an error are tried again."""
    work = labeller.work(dataset)
    done = {key for key in journal.keys if not _failed(journal.get(key))}
    boxes = sum(len(annotations) for _, annotations in work) + len(bad_boxes)
    yield {"event": "start", "images": len(work), "boxes": boxes, "resumed": len(done)}
    for key, reason in bad_boxes.items():
        yield {"event": "error", "annotation": key, "file_name": None, "reason": reason}
    for number, row in enumerate(labeller.label(dataset, folder, done=done), len(done) + 1):
        journal.add(row.image.id, row.answers)
        name, failed = row.image.file_name, _failed(row.answers)
        for answer in failed:
            where = {"annotation": answer["id"], "file_name": name}
            yield {"event": "error", **where, "reason": answer[ERROR]}
        counts = {"done": number, "total": len(work), "file_name": name}
        yield {"event": "image", **counts, "boxes": len(row.answers), "failed": len(failed)}


def _failed(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if ERROR in answer]


def _check_some(journal: Journal, bad_boxes: Mapping[int, str]) -> None:
    """A run without a single mask is a mistake, most likely the wrong folder."""
    failed, first = len(bad_boxes), next(iter(bad_boxes.values()), "")
    for key in journal.keys:
        answers = journal.get(key)
        if len(_failed(answers)) < len(answers):
            return
        failed, first = failed + len(answers), first or answers[0][ERROR]
    if failed:
        journal.remove()
        raise InputError(f"none of {failed} boxes got a mask; the first: {first}")


class _Merger:
    """Puts answers into a COCO document, an annotation at a time.

    Attributes:
        tally: annotations so far by fate: labelled, flagged (of these), failed, kept.
    """

    def __init__(
        self,
        dataset: Dataset,
        journal: Journal,
        bad_boxes: Mapping[int, str],
        header: Mapping[str, Any],
    ) -> None:
        self._images = {image.id: image for image in dataset.images}
        self._journal = journal
        self._bad_boxes = bad_boxes
        self._header = header
        self._answers = lru_cache(LINES_KEPT)(self._read)
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
        answer = self._answers(entry["image_id"]).get(entry["id"])
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

    def _read(self, image_id: int) -> dict[int, Answer]:
        if image_id not in self._journal.keys:
            return {}
        return {answer["id"]: answer for answer in self._journal.get(image_id)}


def _write(data: Path, sha256: str, out: Path, merger: _Merger) -> Mapping[str, int]:
    """Write the new file in pieces, so that a crash leaves the old one or the new one."""
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


def _read_ahead(
    work: Work, folder: Path
) -> Iterator[tuple[ImageRecord, Sequence[Annotation], Image | str]]:
    """Each image's pixels, or why there are none; the next is read while one is worked on."""
    with ThreadPoolExecutor(1) as reader:
        ahead: Future[Image | str] | None = None
        for number, (record, annotations) in enumerate(work):
            image = (ahead or reader.submit(_load, folder, record)).result()
            if number + 1 < len(work):
                ahead = reader.submit(_load, folder, work[number + 1][0])
            yield record, annotations, image


def _load(folder: Path, record: ImageRecord) -> Image | str:
    try:
        return load_image(folder, record)
    except BadImage as error:
        return str(error).replace(f"{folder}{os.sep}", "")  # the text goes into a file for others
