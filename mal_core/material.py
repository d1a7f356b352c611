"""What a fine-tune learns from and is judged by."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mal_core import coco
from mal_core.coco import Dataset
from mal_core.config import CropConfig
from mal_core.dataset import (
    Example,
    boxed,
    chance_examples,
    exact_examples,
    labelled,
    touched,
    training_examples,
)
from mal_core.errors import InputError, TrainingError
from mal_core.finetune_config import FinetuneConfig
from mal_core.pool import Source


@dataclass(frozen=True)
class Material:
    """The data of a fine-tune; no image may be both learnt from and held out.

    Attributes:
        train: masks teach as masks, boxes without one as boxes; see `dataset.cell_weights` for the
            two fields of ours that a mask may carry.
        held_out: what chooses the epoch and judges; without a mask in it, nothing does.
        folder: where the image files of both are.
        probe: masks of other things, which the new weights should not unlearn; or None.
        photos: files of other photos, on which they stay near their parent; none of the probe's,
            which should tell of what nothing kept the weights from forgetting.
    """

    train: Dataset
    held_out: Dataset
    folder: Path
    probe: Source | None = None
    photos: Sequence[Path] = ()

    def __post_init__(self) -> None:
        if not boxed(self.train):
            raise TrainingError("the training images need at least one mask or box")
        names, judges = (
            {str(PurePosixPath(image.file_name)) for image in data.images}
            for data in (self.train, self.held_out)
        )
        if shared := sorted(names & judges):
            raise TrainingError(f"images both trained on and held out: {shared[:3]}")
        if self.probe is not None and not labelled(self.probe.dataset):
            raise InputError("the probe needs at least one mask")
        probe = self.probe
        probed = {probe.folder / i.file_name for i in probe.dataset.images} if probe else set()
        if shared := sorted(path.name for path in probed & set(self.photos)):
            raise InputError(f"images both of the probe and to stay near the parent: {shared[:3]}")
        for annotation in self.train.annotations:
            touched(annotation)

    @property
    def n_masks(self) -> int:
        """Instances that teach by a mask."""
        return sum(a.rle is not None for _, group in boxed(self.train) for a in group)

    @property
    def n_boxes(self) -> int:
        """Instances that teach by their box alone."""
        return sum(a.rle is None for _, group in boxed(self.train) for a in group)

    @property
    def n_held_out(self) -> int:
        """Instances that judge."""
        return sum(len(group) for _, group in labelled(self.held_out))

    @property
    def n_probe(self) -> int:
        """Instances of the probe."""
        return sum(len(group) for _, group in labelled(self.probe.dataset)) if self.probe else 0

    @property
    def sha256(self) -> str:
        """Of all that weights are made from, hexadecimal; photos go by their names and sizes."""
        digest = hashlib.sha256(coco.write(self.train) + coco.write(self.held_out))
        for path in self.photos:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        return digest.hexdigest()

    def lessons(self, crop: CropConfig, config: FinetuneConfig) -> Iterator[Example]:
        """`config.views` views of each instance to learn from."""
        return training_examples(self.train, self.folder, crop, config)

    def exam(self, crop: CropConfig) -> Iterator[Example]:
        """Each held-out instance with a mask."""
        return exact_examples(self.held_out, self.folder, crop)

    def elsewhere(self, crop: CropConfig, config: FinetuneConfig) -> Iterator[Example]:
        """`config.distil_crops` crops of the other photos, none without photos."""
        return chance_examples(self.photos, config.distil_crops, crop, config.seed)
