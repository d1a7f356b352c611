"""Boxes become masks: one shard at a time, wherever a process can do it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mal_core import calibrate
from mal_core.calibrate import Calibration, features
from mal_core.coco import Annotation, Dataset, ImageRecord
from mal_core.config import LabelConfig
from mal_core.dataset import check_size
from mal_core.decode import Decoder
from mal_core.errors import BadBox, BadImage, InputError
from mal_core.geometry import Image, check_boxes
from mal_core.masks import RLE
from mal_core.memory import is_shortage
from mal_core.predictor import BATCH, Prediction, Predictor
from mal_core.refine import RefineConfig
from mal_core.shards import ERROR, FLAGGED, Answer, Header, Shard, Shelf, Work, failed
from mal_core.sources import open_files
from mal_core.team import Job

CHUNK = 4 * BATCH  # boxes of one image whose probabilities are in memory together
NO_MEMORY = "there is not enough memory for it"

Report = Mapping[str, Any]
Load = Callable[[ImageRecord], Image]


class Loader:
    """Image files as pixels: read here, decoded in a child process that they may kill.

    Args:
        where: the place of the files, for `mal_core.sources`.
    """

    def __init__(self, where: str | Path) -> None:
        self._files = open_files(where)
        self._decoder = Decoder()

    def __enter__(self) -> "Loader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._decoder.close()

    def load(self, record: ImageRecord) -> Image:
        """Decode one image of a data set, upright, as (H, W, 3) uint8 RGB.

        Raises:
            BadImage: the file is missing, damaged, deadly, or of another size than the record's.
        """
        content = self._files.read(record.file_name)
        try:
            image = self._decoder.decode(content)
        except BadImage as error:
            raise BadImage(f"cannot read {record.file_name} as an image: {error}") from error
        check_size(image, record)
        return image


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
    def header(self) -> Header:
        """What an answer depends on besides the data, JSON-ready."""
        used = self.calibration if self.config.score else None
        header = {
            "weights": self.predictor.checkpoint.sha256,
            "settings": asdict(self.config),
            "refine": asdict(self.predictor.refine),
            "calibration": None if used is None else asdict(used),
        }
        backend = self.predictor.backend  # torch is the reference; others differ by pixels
        return header if backend == "torch" else {**header, "backend": backend}

    def work(self, dataset: Dataset) -> Work:
        """The images with boxes that want a mask, and those boxes.

        Crowds, and with `relabel` off masks, are left alone.
        """
        pairs = [(i, [a for a in found if self._wants(a)]) for i, found in dataset.by_image()]
        return [(image, annotations) for image, annotations in pairs if annotations]

    def label(
        self, work: Work, load: Load, begin: Callable[[int], None]
    ) -> Iterator[tuple[int, list[Answer]]]:
        """Label boxes; memory holds two images and CHUNK masks at most.

        Args:
            work: images and boxes.
            load: gives an image, or raises BadImage; called in a thread, one image ahead.
            begin: told the id of each image before it is worked on.

        Yields:
            For each image its id and an answer a box, JSON-ready: segmentation, area, mal_flagged
            and, where asked for, score; or mal_error alone.
        """
        for record, annotations, image in _read_ahead(work, load):
            begin(record.id)
            yield record.id, self._answer(image, annotations)

    def _wants(self, annotation: Annotation) -> bool:
        has_mask = annotation.rle is not None and annotation.rle.area > 0
        is_answered = has_mask or FLAGGED in annotation.extra  # an answer may be empty
        return not annotation.iscrowd and (self.config.relabel or not is_answered)

    def _answer(self, image: Image | str, annotations: Sequence[Annotation]) -> list[Answer]:
        """One answer a box; an image too large for the memory fails alone."""
        if isinstance(image, str):
            return _errors(annotations, image)
        try:
            return self._answer_sound(image, annotations)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            return _errors(annotations, NO_MEMORY)

    def _answer_sound(self, image: Image, annotations: Sequence[Annotation]) -> list[Answer]:
        """One answer a box; a box that cannot be used costs the others nothing."""
        answers: list[Answer] = []
        sound: list[Annotation] = []
        for annotation in annotations:
            try:
                check_boxes([annotation.box], *image.shape[:2])
                sound.append(annotation)
            except BadBox as error:
                answers += _errors([annotation], str(error))
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


def label_shard(
    shard: Shard,
    labeller: Labeller,
    load: Load,
    shelf: Shelf,
    begin: Callable[[int], None] = lambda _: None,
) -> Report:
    """Answer the boxes of a shard and store its file; what is there without errors is kept.

    Args:
        shard: cut with this labeller's header.
        labeller: the network and what is asked of it.
        load: gives an image, or raises BadImage.
        shelf: gets the file.
        begin: told the id of each image before it is worked on.

    Returns:
        The shard as `report` tells it.

    Raises:
        InputError: the shard was cut for other weights or settings.
        OSError: the disk is full, or refuses.
    """
    if shard.header != labeller.header:
        raise InputError("the weights or settings here are not those of the run")
    answers = {key: found for key, found in shelf.get(shard.name).items() if not failed(found)}
    left = [(image, boxes) for image, boxes in shard.work if image.id not in answers]
    answers.update(labeller.label(left, load, begin))
    if left:
        shelf.put(shard, answers)
    return report(shard, answers)


def make_labeller(job: Job) -> Labeller:
    """The labeller that a job asks for; with scores, calibrated where the weights come with it.

    Raises:
        CheckpointError: the weights cannot be used.
        InputError: this machine has no such device.
        BackendError: "onnx" was asked for and cannot be had.
    """
    weights, config = Path(job.weights), LabelConfig(**job.config)
    refine = RefineConfig(method=job.refine)
    predictor = Predictor.load(weights, job.device, refine, job.backend)
    if not config.score:
        return Labeller(predictor, config)
    sha256 = predictor.checkpoint.sha256
    return Labeller(predictor, config, calibrate.load(calibrate.beside(weights), sha256))


def label_here(
    labeller: Labeller, images: str | Path, shelf: Shelf, shards: Sequence[Shard]
) -> Iterator[Report]:
    """The crew that is this process alone."""
    with Loader(images) as loader:
        for shard in shards:
            yield label_shard(shard, labeller, loader.load, shelf)


def report(shard: Shard, answers: Mapping[int, Sequence[Answer]]) -> Report:
    """What to tell of a shard that is done, JSON-ready.

    Returns:
        {images: for each {file_name, boxes, failed: {annotation, reason} a box without mask}}.
    """
    images = []
    for image, boxes in shard.work:
        bad = [{"annotation": a["id"], "reason": a[ERROR]} for a in failed(answers[image.id])]
        images.append({"file_name": image.file_name, "boxes": len(boxes), "failed": bad})
    return {"images": images}


def _errors(annotations: Sequence[Annotation], reason: str) -> list[Answer]:
    return [{"id": annotation.id, ERROR: reason} for annotation in annotations]


def _read_ahead(
    work: Work, load: Load
) -> Iterator[tuple[ImageRecord, Sequence[Annotation], Image | str]]:
    """Each image's pixels, or why there are none; the next is read while one is worked on."""
    with ThreadPoolExecutor(1) as reader:
        ahead: Future[Image | str] | None = None
        for number, (record, annotations) in enumerate(work):
            image = (ahead or reader.submit(_try, load, record)).result()
            if number + 1 < len(work):
                ahead = reader.submit(_try, load, work[number + 1][0])
            yield record, annotations, image


def _try(load: Load, record: ImageRecord) -> Image | str:
    try:
        return load(record)
    except BadImage as error:
        return str(error)
