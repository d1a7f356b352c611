"""Weights at rest: safetensors with their config, loaded strictly, written atomically.

A file is hostile until checked: its header is bounded, its names and shapes must be exactly those
of the network its config describes, its values finite. Nothing is ever unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from mal_core.config import CropConfig, ModelConfig
from mal_core.errors import CheckpointError
from mal_core.files import write_whole
from mal_core.model import MAL

MAX_BYTES = 4 * 2**30
_FLOATS = {"F16", "BF16", "F32"}
# Names in the file, which MODEL.md fixes, against those of our modules.
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
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise CheckpointError(f"{path.name} is larger than {MAX_BYTES} bytes: {size}")
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            config, crop, threshold = _read_metadata(metadata, path.name)
            model = _empty_model(config, path.name)
            _check_tensors(file, model, path.name)
            # Copies: a tensor that shares the mapped file would change with the file.
            tensors = {n: file.get_tensor(n).to(torch.float32, copy=True) for n in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"cannot read {path.name}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a whole safetensors file: {error}") from error
    _check_finite(tensors, path.name)
    names = _file_names(model)
    model.load_state_dict({name: tensors[names[name]] for name in names}, assign=True)
    return Checkpoint(model.eval(), crop, threshold, file_sha256(path), metadata)


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
    names, design = _file_names(model), model.config.design
    halves = {names[name]: value.half().contiguous() for name, value in tensors.items()}
    _check_finite(halves, path.name)
    config = {key: getattr(model.config, name) for key, name in _CONFIG_NAMES[design].items()}
    config |= _FIXED[design]
    notes = {**metadata, "config": json.dumps(config)}
    data = _sort_header(tensors_to_bytes(halves, notes))
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

    Args:
        path: the file; only read.
        folder: where checkpoints lie as <sha256>.safetensors; made where it is missing.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        CheckpointError: the file cannot be read, or the disk refuses.
    """
    try:
        sha256 = file_sha256(path)
        kept = folder / f"{sha256}.safetensors"
        if not kept.exists():
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


def _empty_model(config: ModelConfig, name: str) -> MAL:
    try:
        with torch.device("meta"):
            return MAL(config)
    except ValueError as error:
        raise CheckpointError(f"{name}: {error!s:.200}") from error


def _check_tensors(file: safe_open, model: MAL, name: str) -> None:
    """Compare names, shapes and types with the network's before any data is read."""
    names = _file_names(model)
    wanted = {names[key]: list(value.shape) for key, value in model.state_dict().items()}
    found = set(file.keys())
    if missing := sorted(wanted.keys() - found):
        raise CheckpointError(f"{name} lacks {len(missing)} tensors: {', '.join(missing[:5])}")
    if unknown := sorted(found - wanted.keys()):
        raise CheckpointError(f"{name} has {len(unknown)} unknown: {', '.join(unknown[:5])!r:.200}")
    for key, shape in wanted.items():
        part = file.get_slice(key)
        if part.get_shape() != shape or part.get_dtype() not in _FLOATS:
            got = f"{part.get_dtype()} {part.get_shape()}"
            raise CheckpointError(f"{name}: {key} must be float {shape}, got {got}")


def _check_finite(tensors: Mapping[str, Tensor], name: str) -> None:
    for key, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{name}: {key} holds values that are not finite")


def _file_names(model: MAL) -> dict[str, str]:
    """The name in the file of each tensor of the network; they tell the two apart: MODEL.md."""
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
