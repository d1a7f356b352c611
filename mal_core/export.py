"""A checkpoint as an ONNX file that ONNX Runtime, or another program, can run.

The file takes crops, prompt planes and areas of a batch of any size, and answers fine logits. It
is compared with torch before it is written, so that a file that exists is right.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mal_core.checkpoint import Checkpoint
from mal_core.errors import BackendError
from mal_core.files import write_whole
from mal_core.model import MAL
from mal_core.runtime import (
    BATCH_DIM,
    INPUTS,
    ORIGIN,
    OUTPUT,
    SEAL,
    OnnxNetwork,
    Trial,
    compare,
    seal,
    trial_inputs,
)

OPSET = 20  # of later ones ONNX Runtime takes the group norms apart, and is slower
PROOF = (1, 3)  # crops of a trial


class _Fine(nn.Module):
    """The part of a network that answers, as torch's exporter takes it."""

    def __init__(self, model: MAL) -> None:
        super().__init__()
        self.model = model

    def forward(self, crops: Tensor, prompts: Tensor, areas: Tensor) -> Tensor:
        return self.model.fine(crops, prompts, areas)


def export(checkpoint: Checkpoint, path: Path) -> Trial:
    """Write a checkpoint as ONNX, if what is written answers as torch does.

    Args:
        checkpoint: on the CPU.
        path: where to; its folder must exist. A file that is there is replaced at the end.

    Returns:
        How near to torch it is, and how fast on this machine.

    Raises:
        BackendError: onnxruntime, onnx or onnxscript is missing, the network cannot be exported,
            answers otherwise than torch, or the disk refuses; no file was written.
    """
    data = to_onnx(checkpoint)
    trial = prove(checkpoint, data)
    try:
        write_whole(path, data)
    except OSError as error:
        raise BackendError(f"cannot write {path.name}: {error.strerror or error}") from error
    return trial


def missing_libraries() -> list[str]:
    """What the export needs and is not installed."""
    return [name for name in ("onnx", "onnxscript") if find_spec(name) is None]


def to_onnx(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as a sealed ONNX file, not yet compared with anything.

    Raises:
        BackendError: onnx or onnxscript is missing, or the network cannot be exported.
    """
    if missing := missing_libraries():
        raise BackendError(f"the export needs {' and '.join(missing)}: see requirements-extra.txt")
    inputs = trial_inputs(checkpoint.crop.size, 2)
    sizes = {0: torch.export.Dim(BATCH_DIM)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own, on how it works inside
            program = torch.onnx.export(
                _Fine(checkpoint.model).eval(),
                inputs,
                dynamo=True,
                verbose=False,
                input_names=INPUTS,
                output_names=[OUTPUT],
                dynamic_shapes=(sizes, sizes, sizes),
                opset_version=OPSET,
            )
        assert program is not None
        program.model.metadata_props.update({ORIGIN: checkpoint.sha256, SEAL: "0" * 64})
        model = program.model_proto
        _forget_traces(model.graph)
        return seal(model.SerializeToString())
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError) as error:
        raise BackendError(f"the network cannot be exported: {error!s:.200}") from error


def _forget_traces(graph: Any) -> None:  # noqa: ANN401 - onnx.GraphProto, which we do not import
    """Take out the exporter's notes: they name folders of this machine."""
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in (graph, *graph.node, *values):
        del part.metadata_props[:]


def prove(checkpoint: Checkpoint, data: bytes) -> Trial:
    """Compare an ONNX file with the checkpoint it was made from, by batches and crop by crop.

    Returns:
        The comparison crop by crop, as the predictor runs it.

    Raises:
        BackendError: onnxruntime is missing, or the answers differ.
    """
    size, origin = checkpoint.crop.size, checkpoint.sha256
    trials = [trial_inputs(size, count, seed=count) for count in PROOF]
    for together in (True, False):
        network = OnnxNetwork(data, origin, size, together=together)
        with torch.inference_mode():
            trial = compare(lambda *inputs: checkpoint.model(*inputs)[1], network, trials)
        trial.check()
    return trial
