"""The use cases of the canvas: open an image, propose a mask, save, delete; store and model joined.

Masks travel as run-length codes and are checked before they are stored; images are decoded once
and kept while they are in use.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from app.backends import Backends
from app.errors import Conflict, NotAllowed
from app.history import (
    PROPOSED,
    PROPOSED_AGAIN,
    PROPOSED_AHEAD,
    STEERED,
    descended,
    is_untouched,
    made_before,
    mark_kept,
    origin,
)
from app.images import Pyramids, Tile, load_image, path_of
from app.predictors import Predictors
from app.records import Box, Draft, Image, Instance, ModelVersion, State, Work
from app.session import check_stroke
from app.settings import Settings
from app.store import Store
from mal_core import calibrate
from mal_core.geometry import check_boxes
from mal_core.masks import RLE
from mal_core.predictor import Prediction
from mal_core.prompts import Stroke

CACHED_BYTES = 512 * 2**20  # decoded images kept in memory
MAPPED_PIXELS = 2**22  # a larger image is mapped from disk, and takes none of that memory
UNKNOWN = Work()
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Proposal:
    """A proposed instance and where the time went, in seconds by stage."""

    instance: Instance
    seconds: Mapping[str, float]


class Workflow:
    """What a person does to the images of a project; thread-safe."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        backends: Backends | None = None,
        labelled: Callable[[Mapping[str, float]], None] = lambda _: None,
    ) -> None:
        """`labelled` is told the seconds by stage of each box that got a mask."""
        self.settings = settings
        self.store = store
        self._pyramids = Pyramids(settings)
        self._images: OrderedDict[int, Pixels] = OrderedDict()
        self._predictors = Predictors(settings, backends)
        self._decoding = Lock()
        self._labelling = Lock()  # the model itself uses all cores
        self._labelled = labelled

    def open_image(
        self, image_id: int, *, include_deleted: bool = False, viewer: str | None = None
    ) -> list[Instance]:
        """Read the instances that a person sees of an image; decode it ahead of the first box."""
        self._pixels(self.store.get_image(image_id))
        return self.store.list_instances(image_id, include_deleted=include_deleted, viewer=viewer)

    def tile(self, image: Image, level: int, column: int, row: int) -> Tile:
        """A tile of an image's pyramid; see Pyramids.tile."""
        return self._pyramids.tile(image, level, column, row)

    def propose(
        self,
        image_id: int,
        box: Box,
        category_id: int,
        person: str,
        known: tuple[int, int] | None = None,
        request_id: str = "",
        work: Work = UNKNOWN,
    ) -> Proposal:
        """Ask the project's model for the mask of a box and store it.

        Args:
            image_id: the image.
            box: pixels of the upright image; clipped to it.
            category_id: of the object.
            person: who drew the box.
            known: id and version of an instance to propose anew; None makes a new one.
            request_id: a name the person gave this request; asking again under the same name
                gets the instance it made, since the first answer was lost. "" for none.
            work: the lease it is done under, and what it took.

        Raises:
            NotFound: no such image, category or instance.
            NotAllowed: the instance is another image's, or the category another project's.
            BadBox: the box holds no pixel.
            Conflict: the instance was saved by somebody else meanwhile.
        """
        if (made := self.store.find_answer(person, request_id, image_id)) is not None:
            return Proposal(self.store.get_instance(made), {})
        image = self.store.get_image(image_id)
        if known is not None and self.store.get_instance(known[0]).image_id != image_id:
            raise NotAllowed(f"instance {known[0]} is not one of image {image_id}")
        model = self.model_in_use(image.project_id)
        begin = time.perf_counter()
        pixels = self._pixels(image)
        seconds = {"decode": time.perf_counter() - begin}
        draft, stages = self._label(model, pixels, box, category_id)
        begin = time.perf_counter()
        now = datetime.now(UTC)
        if known is None:
            with self.store.transaction():
                instance = self.store.add_instance(image_id, draft, person, PROPOSED, now, work)
                if request_id:
                    self.store.add_answer(person, request_id, instance.id)
        else:
            saving = (known[1], person, PROPOSED, now, work)
            instance = self.store.save_instance(known[0], draft, *saving)
        return Proposal(instance, {**seconds, **stages, "store": time.perf_counter() - begin})

    def propose_ahead(self, known: tuple[int, int], person: str) -> Proposal:
        """Give a box its mask before the person comes to it.

        Args:
            known: id and version of an instance that is a box without a mask.
            person: who is going to look at it.

        Raises:
            NotFound: no such instance.
            NotAllowed: it has a mask already.
            Conflict: somebody had a hand in it meanwhile.
        """
        instance = self.store.get_instance(known[0])
        if instance.draft.rle is not None:
            raise NotAllowed(f"instance {known[0]} has a mask: only a person asks for another")
        image, box = self.store.get_image(instance.image_id), instance.draft
        model = self.model_in_use(image.project_id)
        draft, stages = self._label(model, self._pixels(image), box.box, box.category_id)
        now = datetime.now(UTC)
        saved = self.store.save_instance(known[0], draft, known[1], person, PROPOSED_AHEAD, now)
        return Proposal(saved, stages)

    def steer(
        self,
        image_id: int,
        known: tuple[int, int],
        strokes: Sequence[Stroke],
        person: str,
        work: Work = UNKNOWN,
    ) -> Proposal:
        """Let strokes on an instance steer its mask, and store the outcome as a correction.

        What is under the last adding stroke is in the mask, what is under the last erasing one is
        out; the mask changes only where a stroke points.

        Args:
            image_id: the image.
            known: id and version of the instance; its box and its mask are where this begins.
            strokes: one or more, in pixels of the upright image, in the order they were made.
            person: who made them.
            work: the lease it is done under, and what it took.

        Raises:
            NotFound: no such image or instance.
            NotAllowed: the instance is another image's, or a stroke does not touch the image.
            Conflict: the instance was saved by somebody else meanwhile; the mask is kept.
        """
        image = self.store.get_image(image_id)
        before = self.store.get_instance(known[0])
        if before.image_id != image_id:
            raise NotAllowed(f"instance {known[0]} is not one of image {image_id}")
        for stroke in strokes:
            check_stroke(stroke, image.width, image.height)
        begin = time.perf_counter()
        pixels = self._pixels(image)
        seconds = {"decode": time.perf_counter() - begin}
        model, old = self.model_in_use(image.project_id), before.draft
        steered, stages = self._label(model, pixels, old.box, old.category_id, strokes, old.rle)
        draft = replace(steered, box=old.box, state=State.CORRECTED)
        begin, now = time.perf_counter(), datetime.now(UTC)
        saving = (known[1], person, STEERED, now, work)
        instance = self.store.save_instance(known[0], draft, *saving)
        return Proposal(instance, {**seconds, **stages, "store": time.perf_counter() - begin})

    def create(
        self,
        image_id: int,
        wanted: Draft,
        person: str,
        reason: str,
        request_id: str,
        *,
        from_id: int | None = None,
        work: Work = UNKNOWN,
    ) -> Instance:
        """Store a new instance whose mask a person has already.

        Args:
            image_id: the image it is on.
            wanted: state, category, box and mask.
            person: who.
            reason: why, in a word, such as "copy" or "split".
            request_id: asking again under the same name gets the instance made before.
            from_id: the instance its mask comes from, whose model, score and flag it keeps.
            work: what it took.

        Raises:
            NotFound: no such image, category or instance.
            NotAllowed: the state cannot be a first one, or the category is another project's.
            BadMask: the mask is not of the image's size.
        """
        with self.store.transaction():
            if (made := self.store.find_answer(person, request_id, image_id)) is not None:
                return self.store.get_instance(made)
            draft = wanted
            if from_id is not None:
                draft = descended(wanted, self.store.get_instance(from_id).draft)
            now = datetime.now(UTC)
            instance = self.store.add_instance(image_id, draft, person, reason, now, work)
            self.store.add_answer(person, request_id, instance.id)
            return instance

    def save(
        self,
        instance_id: int,
        version: int,
        wanted: Draft,
        person: str,
        reason: str,
        work: Work = UNKNOWN,
    ) -> Instance:
        """Store what a person made of an instance.

        Args:
            instance_id: the instance.
            version: the version the person started from.
            wanted: state, category, box and mask; the model it came from, its score and its flag
                are those of the newest revision with this mask, else of the head.
            person: who.
            reason: why, in a word, such as "brush" or "undo".
            work: the lease it is done under, and what it took.

        Raises:
            Conflict: somebody saved first, or works on the image; `wanted` is kept in the history.
            NotAllowed: the state does not fit.
            BadMask: the mask is not of the image's size.
        """
        head = self.store.get_instance(instance_id)
        revisions = [] if wanted.rle == head.draft.rle else self.store.list_revisions(instance_id)
        draft = descended(wanted, origin(head.draft, revisions, wanted.rle))
        saving = (version, person, mark_kept(head, wanted, reason), datetime.now(UTC), work)
        return self.store.save_instance(instance_id, draft, *saving)

    def delete(self, instance_id: int, version: int, person: str, work: Work = UNKNOWN) -> Instance:
        """Take an instance away; its history stays and undo brings it back."""
        head = self.store.get_instance(instance_id).draft
        draft = replace(head, state=State.DELETED)
        now = datetime.now(UTC)
        return self.store.save_instance(instance_id, draft, version, person, "delete", now, work)

    def propose_bare(self, instance_id: int) -> bool:
        """Give a box that came without a mask its first, in nobody's name.

        Returns:
            Whether it has one now from here; never, where somebody was faster.

        Raises:
            BadBox: it is too thin to hold a pixel.
            BadImage: the stored raster is missing or damaged.
        """
        instance = self.store.get_instance(instance_id)
        if instance.draft.state is not State.PROPOSED:
            return False
        try:
            self.propose_ahead((instance.id, instance.version), "")
        except (Conflict, NotAllowed):
            return False
        return True

    def propose_again(self, instance_id: int) -> bool:
        """Ask the model in use for an untouched proposal of another model.

        A mask that this model made of the same box before, as after a roll back, is brought back
        from the history.

        Returns:
            Whether it has a new mask; never, where a person has touched it or does so meanwhile.
        """
        instance = self.store.get_instance(instance_id)
        image = self.store.get_image(instance.image_id)
        model = self.model_in_use(image.project_id)
        revisions = self.store.list_revisions(instance_id)
        head = instance.draft
        if not is_untouched(revisions) or head.rle is None or head.model_id == model.id:
            return False
        draft = made_before(revisions, model.id, head.box)
        if draft is None:
            draft, _ = self._label(model, self._pixels(image), head.box, head.category_id)
        draft = replace(draft, category_id=head.category_id)
        now = datetime.now(UTC)
        try:
            self.store.save_instance(instance.id, draft, instance.version, "", PROPOSED_AGAIN, now)
        except Conflict:
            return False
        return True

    def adopt(self, sha256: str, name: str) -> None:
        """Load weights and see them work, so that they can be put in use at once.

        Args:
            sha256: of the checkpoint among the studio's models.
            name: what to call them in an error.

        Raises:
            NotFound: the file is gone, or is not the one it was.
            CheckpointError: it cannot be read, or its network answers no numbers.
        """
        self._predictors.of(sha256, name)

    def model_in_use(self, project_id: int) -> ModelVersion:
        """The model version that proposes a project's masks."""
        return self.store.get_model(self.store.get_project(project_id).model_id)

    def weights_path(self, model: ModelVersion) -> Path:
        """Where a model version's checkpoint lies."""
        return self._predictors.path_of(model.sha256)

    def _label(
        self,
        model: ModelVersion,
        pixels: Pixels,
        box: Box,
        category_id: int,
        strokes: Sequence[Stroke] = (),
        current: RLE | None = None,
    ) -> tuple[Draft, Mapping[str, float]]:
        """Run the model on one box, or on the strokes that correct its mask."""
        height, width = pixels.shape[:2]
        clipped = check_boxes([box], height, width)[0]
        predictor = self._predictors.of(model.sha256, model.name)
        with self._labelling:
            prediction = predictor.predict(pixels, [clipped], [strokes], [current])
        self._labelled(prediction.seconds)
        begin = time.perf_counter()
        mask = prediction.mask(0)
        pasted = time.perf_counter()
        rle = prediction.encode(mask, 0)
        encoded = time.perf_counter()
        draft = Draft(
            state=State.PROPOSED,
            category_id=category_id,
            box=clipped,
            rle=rle,
            score=self._expected_iou(model, prediction, rle),
            flagged=prediction.flagged(rle, 0),
            model_id=model.id,
        )
        own = {"paste": pasted - begin, "rle": encoded - pasted}
        return draft, {**prediction.seconds, **own, "score": time.perf_counter() - encoded}

    def _expected_iou(self, model: ModelVersion, prediction: Prediction, rle: RLE) -> float:
        """The score of a mask: calibrated where its weights have a calibration, else their own."""
        calibration = calibrate.load(calibrate.beside(self.weights_path(model)), model.sha256)
        if calibration is None:
            return float(prediction.scores[0])
        return float(calibration.apply(calibrate.features(prediction, [rle]))[0])

    def _pixels(self, image: Image) -> Pixels:
        """Decode an image once and keep it: in memory while that allows, a large one on disk."""
        if image.width * image.height > MAPPED_PIXELS:
            return self._pyramids.level(image, 0)
        if image.id not in self._images:
            path_of(self.settings, image)  # a store may be slow; others are not to wait for it
        with self._decoding:
            if image.id not in self._images:
                self._images[image.id] = load_image(self.settings, image)
            self._images.move_to_end(image.id)
            while len(self._images) > 1 and self._cached_bytes() > CACHED_BYTES:
                self._images.popitem(last=False)
            return self._images[image.id]

    def _cached_bytes(self) -> int:
        return sum(pixels.nbytes for pixels in self._images.values())
