"""Other people's checkpoints into ours, offline: MAE's encoders and the official MAL.

Written from the published names of the tensors; nobody here has seen the files. Both come in
PyTorch's own format, which can hold programs: torch's restricted reader takes tensors and plain
values and refuses the rest unexecuted. This module is the only one that may call it; its output
is safetensors, and nothing else in the project reads the other format.

Source: He et al., CVPR 2022 (MAE); Lan et al., CVPR 2023 (MAL).
"""

import argparse
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mal_core import checkpoint as checkpoints
from mal_core.checkpoint import check_tensors, describe, empty_model, file_names
from mal_core.config import ModelConfig
from mal_core.errors import CheckpointError

KINDS = ("mae", "mal")
MAX_BYTES = 8 * 2**30
MAL_THRESHOLD = "0.1"  # of the published labelling
# The file's names against ours, which are those of mal_core.checkpoint's paper design.
MAL_NAMES = (
    ("student.backbone.", "encoder."),
    ("student.roi_head.mlp1.", "decoder.key.0."),
    ("student.roi_head.mlp2.", "decoder.key.2."),
    *((f"student.mask_head.convs.{n}.conv.", f"decoder.values.{n}.") for n in range(4)),
)
MAE_DECODER = re.compile(r"mask_token|decoder_(pos_embed|(embed|blocks|norm|pred)\..+)")


def convert(source: Path, out: Path, config: ModelConfig, kind: str | None = None) -> str:
    """Turn a checkpoint of MAE or of the official MAL into ours.

    Args:
        source: a .pth or .ckpt file of PyTorch 1.6 or newer.
        out: what to write. From "mae": the encoder alone, under timm's names, for `build`. From
            "mal": a checkpoint of the paper's design, made of the student.
        config: of the paper's design; "mae" reads only its backbone.
        kind: "mae" or "mal"; None tells them apart by their names.

    Returns:
        SHA-256 of the new file, hexadecimal.

    Raises:
        CheckpointError: the file is damaged, holds more than tensors and plain values, or lacks a
            tensor or has one that is unknown; or the new file cannot be written.
        ValueError: an unknown kind, or a config of another design.
    """
    if kind not in (None, *KINDS) or config.design != "paper":
        raise ValueError(f"kind must be mae or mal and the design paper, got {kind}, {config}")
    tensors = read_foreign(source)
    if kind is None:
        kind = (
            "mal" if any(name.startswith(("student.", "teacher.")) for name in tensors) else "mae"
        )
    notes = {"source": source.name, "source_sha256": checkpoints.file_sha256(source)}
    if kind == "mae":
        return _convert_mae(tensors, source.name, out, config, notes)
    return _convert_mal(tensors, source.name, out, config, notes)


def read_foreign(path: Path) -> dict[str, Tensor]:
    """Read the named tensors of a PyTorch checkpoint; nothing in it is executed.

    Args:
        path: the file; its tensors may lie under "model" or "state_dict".

    Raises:
        CheckpointError: it is missing, too large, damaged, or holds anything but tensors and
            plain values.
    """
    name = path.name
    _check_archive(path)
    try:
        # Training scripts keep their flags beside the weights; a Namespace runs nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can break the reader in any way
        raise CheckpointError(f"{name} was not read: {_reason(error)}") from error
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{name} holds no named tensors")
    for key, value in content.items():
        if not isinstance(key, str) or not _is_plain(value):
            raise CheckpointError(f"{name}: {key!r:.80} is not an ordinary tensor")
    return dict(content)


def _check_archive(path: Path) -> None:
    """Bound what reading can take; the format before PyTorch 1.6 is no archive and is refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except OSError as error:
        raise CheckpointError(f"cannot read {path.name}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path.name} is no checkpoint of PyTorch 1.6 or newer") from error
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise CheckpointError(f"{path.name} is compressed, which PyTorch's files are not")
    if (size := sum(part.file_size for part in parts)) > MAX_BYTES:
        raise CheckpointError(f"{path.name} is larger than {MAX_BYTES} bytes: {size}")


def _reason(error: Exception) -> str:
    """What the reader objected to, without its advice to trust the file."""
    if refused := re.search(r"GLOBAL\s+([\w.]+)", str(error)):
        return f"it holds more than tensors and plain values ({refused[1]:.80})"
    return f"{type(error).__name__}, it is damaged or no checkpoint"


def _is_plain(value: object) -> bool:
    if not isinstance(value, Tensor) or type(value) not in (Tensor, torch.nn.Parameter):
        return False
    if value.layout != torch.strided or value.device.type != "cpu":
        return False
    # A small file can claim any shape by repeating one number.
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _convert_mae(
    tensors: Mapping[str, Tensor], name: str, out: Path, config: ModelConfig, notes: dict[str, str]
) -> str:
    """An encoder under timm's names, its position embeddings on the grid they come with."""
    if all(key.startswith("model.") for key in tensors):
        tensors = {key.removeprefix("model."): value for key, value in tensors.items()}
    dropped = tuple(key for key in tensors if MAE_DECODER.fullmatch(key))
    found = {
        key: value
        for key, value in tensors.items()
        if key not in dropped and not key.startswith(checkpoints.CLASSIFIER)
    }
    positions = found.get("pos_embed", torch.zeros(1, 14**2 + 1, 1))
    grid = math.isqrt(positions.shape[1]) if positions.ndim == 3 else 0
    if not 4 <= grid <= 64:
        raise CheckpointError(f"{name}: pos_embed is of no square grid of 4 to 64 tokens a side")
    shape = replace(config, stem="patch", crop_size=16 * grid)
    vit = empty_model(shape, name).paper.encoder.vit
    _check(found, {key: list(value.shape) for key, value in vit.state_dict().items()}, name)
    floats = {key: value.detach().float().contiguous().clone() for key, value in found.items()}
    notes |= {"kind": "encoder", "backbone": config.backbone}
    return checkpoints.write_tensors(out, floats, notes)


def _convert_mal(
    tensors: Mapping[str, Tensor], name: str, out: Path, config: ModelConfig, notes: dict[str, str]
) -> str:
    """The student as a checkpoint of ours; the teacher is left away."""
    model = empty_model(config, name)
    found = {key: value for key, value in tensors.items() if not key.startswith("teacher.")}
    positions = "student.backbone.pos_embed"
    if positions in found:
        try:
            fitted = model.paper.encoder.at_grid({"pos_embed": found[positions]})
        except ValueError as error:
            raise CheckpointError(f"{name}: {positions}: {error}") from error
        found[positions] = fitted["pos_embed"]
    ours = {key: _published_name(inner) for key, inner in file_names(model).items()}
    _check(found, {ours[k]: list(v.shape) for k, v in model.state_dict().items()}, name)
    floats = {key: found[theirs].detach().float().clone() for key, theirs in ours.items()}
    model.load_state_dict(floats, assign=True)
    return checkpoints.save(model, out, {**notes, "threshold": MAL_THRESHOLD})


def _check(found: Mapping[str, Tensor], wanted: Mapping[str, list[int]], name: str) -> None:
    check_tensors({key: describe(value) for key, value in found.items()}, wanted, name)


def _published_name(name: str) -> str:
    """The official name of a tensor, from the one in a file of ours."""
    for theirs, ours in MAL_NAMES:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(name)
