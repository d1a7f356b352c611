"""The state of a training run on disk: enough to go on as if nothing had happened.

One safetensors file holds the student, the teacher and AdamW's two moments; its notes hold the
step, the recipe and what the run learned from. Random draws are made from the seed and the step,
so there is no generator to keep.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from mal_core.errors import CheckpointError, InputError, TrainingError
from mal_core.files import write_whole

STATE = "state.safetensors"
_NOTES = "run"


@dataclass(frozen=True)
class Position:
    """How far a run has come.

    Attributes:
        step: steps done; in a fine-tune, epochs.
        best: best held-out IoU so far, or None before the first look.
        best_step: where it was.
        looks: looks at the held-out images since then.
        seconds: spent on steps so far, over all sittings.
        curve: in a fine-tune, the events of its epochs so far; JSON-ready.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    looks: int = 0
    seconds: float = 0.0
    curve: Sequence[Mapping[str, Any]] = ()


def open_folder(out: Path, *, resume: bool) -> Path:
    """The folder OUT.run of a run, made where it is missing.

    Raises:
        InputError: it holds an unfinished run, and nobody said to go on with it.
    """
    folder = out.with_name(out.name + ".run")
    if (folder / STATE).exists() and not resume:
        raise InputError(
            f"{folder.name} holds an unfinished run: --resume goes on with it; remove the folder "
            "to start anew"
        )
    folder.mkdir(exist_ok=True)
    return folder


def save_state(
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    position: Position,
    identity: Mapping[str, Any],
) -> None:
    """Write the state, so that a crash leaves the old one or the new one.

    Args:
        folder: of the run; it exists.
        modules: by name, e.g. student and teacher.
        optimizer: AdamW; its moments are kept in the order of its parameters.
        position: how far the run is.
        identity: what a resumed run must have in common with this one, JSON-ready.

    Raises:
        OSError: the disk is full, or refuses; the old state is intact.
    """
    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for number, moments in optimizer.state_dict()["state"].items():
        for key, value in moments.items():
            tensors[f"optimizer.{number}.{key}"] = value.detach().cpu().contiguous()
    notes = {_NOTES: json.dumps({"position": asdict(position), "identity": identity})}
    write_whole(folder / STATE, tensors_to_bytes(tensors, notes))


def keep(save: Callable[[], None], step: int) -> Mapping[str, Any]:
    """Save the state; a full disk is said and does not end the run.

    Args:
        save: writes the state.
        step: steps done, for the event.

    Returns:
        "kept" {step}, or "not_kept" {step, reason}.
    """
    try:
        save()
    except OSError as error:
        return {"event": "not_kept", "step": step, "reason": error.strerror or str(error)}
    return {"event": "kept", "step": step}


def load_state(
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    identity: Mapping[str, Any],
) -> Position:
    """Put modules and optimizer back where the run stopped.

    Args:
        folder: of the run.
        modules: as given to `save_state`; changed in place.
        optimizer: fresh, over the same parameters; changed in place.
        identity: of the run that wants to go on.

    Returns:
        How far the run is; the start where nothing was saved yet.

    Raises:
        TrainingError: the state is of a run with other settings or data; says which.
        CheckpointError: the file is damaged.
    """
    path = folder / STATE
    if not path.exists():
        return Position()
    try:
        with safe_open(path, "pt") as file:
            notes = json.loads((file.metadata() or {})[_NOTES])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path.name} is not a whole training state: {error}") from error
    _check_identity(notes["identity"], identity)
    for name, module in modules.items():
        module.load_state_dict(_below(tensors, name))
    _load_moments(optimizer, _below(tensors, "optimizer"))
    return Position(**notes["position"])


def _check_identity(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    current = json.loads(json.dumps(wanted))
    differing = sorted(k for k in {*saved, *current} if saved.get(k) != current.get(k))
    if differing:
        raise TrainingError(
            f"the saved run differs in {', '.join(differing)}: resume it with the same settings "
            "and data, or start a new run in another place"
        )


def _load_moments(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    start = f"{name}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
