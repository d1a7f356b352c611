"""Weights at rest: safetensors with their config, loaded strictly, written atomically.

A file is hostile until checked: its header is bounded, its names and shapes must be exactly those
of the network its config describes, its values finite. Nothing is ever unpickled.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from mal_core.config import CropConfig, ModelConfig
from mal_core.encoder import fetch_pretrained, resize_positions
from mal_core.errors import CheckpointError
from mal_core.files import write_whole
from mal_core.model import MAL

MAX_BYTES = 4 * 2**30
HUB = "hub:"
STEM = "patch_embed.proj."
CLASSIFIER = ("head.", "head_dist.")  # in timm's files, of no use here
Description = tuple[str, list[int]]
_FLOATS = {"F16", "BF16", "F32"}
# Names in the file against those of our modules; weights/MODEL.md fixes the studio design's.
_PREFIXES = {
    "studio": (("dec.", "decoder."), ("", "encoder.")),
    "paper": (("decoder.", "paper.decoder."), ("encoder.", "paper.encoder.vit.")),
}
_CONFIG_NAMES = {
    "studio": {
        "dim": "dim",
        "depth": "depth",
        "heads": "heads",
        "mlp": "mlp_ratio",
        "img": "crop_size",
        "reg": "registers",
    },
    "paper": {"design": "design", "backbone": "backbone", "stem": "stem", "img": "crop_size"},
}
_FIXED = {"studio": {"stem": "conv", "pin": 4}, "paper": {}}  # what every file of ours says


@dataclass(frozen=True)
class Checkpoint:
    """A loaded network and what its file says about it.

    Attributes:
        model: in eval mode, float32, on the CPU.
        crop: how its crops are made.
        threshold: mask probability above which a pixel belongs to the object, 0 to 1.
        sha256: of the file's bytes, hexadecimal.
        metadata: the file's own notes.
    """

    model: MAL
    crop: CropConfig
    threshold: float
    sha256: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, strictly.

    Args:
        path: a .safetensors file in the layout of weights/MODEL.md, or of the paper's design.

    Returns:
        The network and its settings.

    Raises:
        CheckpointError: the file is missing, damaged, too large, or not exactly one of ours.
    """
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
        config, crop, threshold = _read_metadata(metadata, path.name)
        model = empty_model(config, path.name)
        names = file_names(model)
        wanted = {names[key]: value.shape for key, value in model.state_dict().items()}
        check_tensors({n: _describe(file, n) for n in file.keys()}, wanted, path.name)  # noqa: SIM118
        tensors = _read_tensors(file, path.name)
    model.load_state_dict({name: tensors[names[name]] for name in names}, assign=True)
    return Checkpoint(model.eval(), crop, threshold, file_sha256(path), metadata)


def build(config: ModelConfig, encoder: Path | str | None = None) -> MAL:
    """Make a new network, whose encoder may start from weights that exist.

    Args:
        config: its shape.
        encoder: where the encoder's weights come from; the decoder always starts from random.
            None: from nowhere. A file: one of our checkpoints of the same design, or, for the
            paper's design, safetensors under timm's names, by `convert` or from timm. "hub:NAME",
            for the paper's design: what timm publishes as NAME, a tag included. Position
            embeddings are resized to the crop's grid. A convolutional stem that the weights do
            not have starts from random, as in the paper.

    Raises:
        CheckpointError: the weights cannot be had, or are not exactly of this encoder.
    """
    try:
        model = MAL(config)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if encoder is None:
        return model
    name = str(encoder) if str(encoder).startswith(HUB) else Path(encoder).name
    found = _encoder_weights(config, encoder, name)
    try:
        if config.design == "studio":
            part: nn.Module = model.encoder
            found["pos"] = resize_positions(found["pos"], config.grid)
        else:
            part = model.paper.encoder.vit
            found = _with_own_stem(model.paper.encoder.at_grid(found), part, config)
    except ValueError as error:
        raise CheckpointError(f"{name}: {error}") from error
    wanted = {key: value.shape for key, value in part.state_dict().items()}
    check_tensors({key: describe(value) for key, value in found.items()}, wanted, name)
    part.load_state_dict(found)
    return model


def _encoder_weights(config: ModelConfig, encoder: Path | str, name: str) -> dict[str, Tensor]:
    """Find the encoder's weights under the names that it has in its design; nothing resized."""
    if name.startswith(HUB):
        wanted = name.removeprefix(HUB)
        if config.design != "paper" or wanted.split(".")[0] != config.backbone:
            raise CheckpointError(f"{name} is no {config.backbone} for a paper design's encoder")
        return fetch_pretrained(wanted)
    path = Path(encoder)
    with _opened(path) as file:
        if config.design == "paper" and "config" not in (file.metadata() or {}):
            return _read_tensors(file, name)
    model = load(path).model
    theirs, ours = (
        {k: v for k, v in c.describe().items() if k != "crop_size"} for c in (model.config, config)
    )
    if theirs != ours:
        raise CheckpointError(f"{name} holds another encoder: {theirs}, not {ours}")
    part = model.encoder if config.design == "studio" else model.paper.encoder.vit
    return part.state_dict()


def _with_own_stem(
    found: Mapping[str, Tensor], vit: nn.Module, config: ModelConfig
) -> dict[str, Tensor]:
    """Leave timm's classifier away, and keep the new stem where the weights have none like it."""
    kept = {name: value for name, value in found.items() if not name.startswith(CLASSIFIER)}
    if config.stem == "conv" and f"{STEM}0.0.weight" not in kept:
        kept = {name: value for name, value in kept.items() if not name.startswith(STEM)}
        kept |= {name: v for name, v in vit.state_dict().items() if name.startswith(STEM)}
    return kept


def save(model: MAL, path: Path, metadata: Mapping[str, str]) -> str:
    """Write a network in float16, so that a crash leaves the old file or the new one.

    Args:
        model: the network; not changed.
        path: where to; its folder must exist.
        metadata: notes to keep; "config" is written anew from the model. The same weights and
            notes always give the same bytes.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        CheckpointError: a weight is not finite, or the disk refuses.
    """
    tensors = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    names, design = file_names(model), model.config.design
    halves = {names[name]: value.half().contiguous() for name, value in tensors.items()}
    config = {key: getattr(model.config, name) for key, name in _CONFIG_NAMES[design].items()}
    config |= _FIXED[design]
    notes = {**metadata, "config": json.dumps(config)}
    return write_tensors(path, halves, notes)


def write_tensors(path: Path, tensors: dict[str, Tensor], notes: dict[str, str]) -> str:
    """Write tensors and notes as safetensors, always the same bytes for the same content.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        CheckpointError: a number is not finite, or the disk refuses.
    """
    _check_finite(tensors, path.name)
    data = _sort_header(tensors_to_bytes(tensors, notes))
    try:
        write_whole(path, data)
    except OSError as error:
        raise CheckpointError(f"cannot write {path.name}: {error.strerror or error}") from error
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep(path: Path, folder: Path) -> str:
    """Put a copy of a checkpoint under its content hash, unless there is one already.

    It is loaded once before, so that nothing is kept that could not be used.

    Args:
        path: the file; only read.
        folder: where checkpoints lie as <sha256>.safetensors; made where it is missing.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        CheckpointError: the file cannot be read, is not one of ours, or the disk refuses.
    """
    try:
        sha256 = file_sha256(path)
        kept = folder / f"{sha256}.safetensors"
        if not kept.exists():
            load(path)
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(kept, path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"cannot keep {path.name}: {error.strerror or error}") from error
    return sha256


def _read_metadata(metadata: Mapping[str, str], name: str) -> tuple[ModelConfig, CropConfig, float]:
    """Take the network's shape, its crop and the threshold out of the file's notes."""
    try:
        raw = json.loads(metadata["config"])
        design = raw.get("design", "studio")
        if any(raw[key] != value for key, value in _FIXED[design].items()):
            raise CheckpointError(f"{name} has another stem or other prompts than this program")
        config = ModelConfig(**{o: raw[theirs] for theirs, o in _CONFIG_NAMES[design].items()})
        threshold = float(metadata.get("threshold", "0.5"))
        crop = CropConfig.of(config)
        margin = float(metadata.get("eval_expand", crop.margin))
        crop = replace(crop, margin=margin)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{name} does not describe a network of ours: {error!r:.200}"
        ) from error
    if not 0 < threshold < 1:
        raise CheckpointError(f"{name}: the threshold must be between 0 and 1, got {threshold}")
    return config, crop, threshold


def empty_model(config: ModelConfig, name: str) -> MAL:
    """A network without memory for its weights.

    Raises:
        CheckpointError: there is no such network; `name` says which file asked for it.
    """
    try:
        with torch.device("meta"):
            return MAL(config)
    except ValueError as error:
        raise CheckpointError(f"{name}: {error!s:.200}") from error


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    """Open a safetensors file; what goes wrong with it becomes a CheckpointError."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise CheckpointError(f"{path.name} is larger than {MAX_BYTES} bytes: {size}")
        with safe_open(path, "pt") as file:
            yield file
    except OSError as error:
        raise CheckpointError(f"cannot read {path.name}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a whole safetensors file: {error}") from error


def check_tensors(
    found: Mapping[str, Description], wanted: Mapping[str, Sequence[int]], name: str
) -> None:
    """Compare names, shapes and types with those of a network, before any number is read.

    Args:
        found: of each tensor its type, as safetensors calls it, and its shape.
        wanted: of each tensor its shape.
        name: of the file, for the message.

    Raises:
        CheckpointError: it names the tensors at fault.
    """
    if missing := sorted(wanted.keys() - found.keys()):
        raise CheckpointError(f"{name} lacks {len(missing)} tensors: {', '.join(missing[:5])}")
    if unknown := sorted(found.keys() - wanted.keys()):
        raise CheckpointError(f"{name} has {len(unknown)} unknown: {', '.join(unknown[:5])!r:.200}")
    for key, shape in wanted.items():
        kind, size = found[key]
        if size != list(shape) or kind not in _FLOATS:
            raise CheckpointError(f"{name}: {key} must be float {list(shape)}, got {kind} {size}")


def describe(tensor: Tensor) -> Description:
    """Type and shape of a tensor, as `check_tensors` takes them."""
    kinds = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
    return kinds.get(tensor.dtype, str(tensor.dtype)), list(tensor.shape)


def _describe(file: safe_open, name: str) -> Description:
    part = file.get_slice(name)
    return part.get_dtype(), part.get_shape()


def _read_tensors(file: safe_open, name: str) -> dict[str, Tensor]:
    """All tensors as float32; copies, as one that shares the mapped file changes with it."""
    tensors = {n: file.get_tensor(n).to(torch.float32, copy=True) for n in file.keys()}  # noqa: SIM118
    _check_finite(tensors, name)
    return tensors


def _check_finite(tensors: Mapping[str, Tensor], name: str) -> None:
    for key, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{name}: {key} holds values that are not finite")


def file_names(model: MAL) -> dict[str, str]:
    """The name in a file of each tensor of the network; weights/MODEL.md fixes the studio's."""
    names = {}
    for name in model.state_dict():
        for theirs, ours in _PREFIXES[model.config.design]:
            if name.startswith(ours):
                names[name] = theirs + name.removeprefix(ours)
    return names


def _sort_header(data: bytes) -> bytes:
    """Put a safetensors header in order: the library writes the notes in a random one."""
    stop = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:stop]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors stay aligned
    return len(header).to_bytes(8, "little") + header + data[stop:]
