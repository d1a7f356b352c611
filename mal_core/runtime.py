"""The network on ONNX Runtime: a file that is believed only after it has proved itself.

An exported file names the checkpoint it was made from, by hash, and carries a seal over its own
bytes. The seal is checked before ONNX Runtime sees the file; then its answers are compared with
torch's, and the faster of the two answers from then on. See docs/adr/0017-onnx-runtime.md.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

from mal_core.errors import BackendError
from mal_core.prompts import PLANES

try:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as _state
except ImportError:  # it is a choice: torch answers without it
    onnxruntime = _state = None

TOLERANCE = 1e-4  # of a logit
MAX_BYTES = 2 * 2**30  # of a protobuf
PAIRS = 5  # interleaved runs of both networks, to see which is faster
INPUTS, OUTPUT, BATCH_DIM = ("crops", "prompts", "areas"), "logits", "batch"
SEAL, ORIGIN = "mal_seal", "mal_sha256"  # the notes in an exported file
_BLANK = b"0" * 64
_MARK = SEAL.encode() + b"\x12\x40"  # as protobuf writes it before a text of 64 characters

Inputs = tuple[Tensor, Tensor, Tensor]
Network = Callable[[Tensor, Tensor, Tensor], Tensor]  # crops, prompt planes, areas -> fine logits
log = logging.getLogger(__name__)
# ONNX Runtime's own errors have no parent but Exception.
_KINDS = [kind for kind in vars(_state or object).values() if isinstance(kind, type)]
_FAILURES: tuple[type[Exception], ...] = (
    *(RuntimeError, ValueError),
    *(kind for kind in _KINDS if issubclass(kind, Exception)),
)


def is_installed() -> bool:
    """Whether ONNX Runtime is here."""
    return onnxruntime is not None


def beside(weights: Path) -> Path:
    """Where the command line looks for the exported network of a checkpoint."""
    return weights.with_suffix(".onnx")


def seal(data: bytes) -> bytes:
    """Put the hash of an ONNX file into the note that the exporter left blank for it.

    Raises:
        ValueError: there is no blank note.
    """
    start = data.rfind(_MARK + _BLANK)
    if start < 0:
        raise ValueError(f"an ONNX file to be sealed needs a note {SEAL} of 64 zeros")
    start += len(_MARK)
    return data[:start] + hashlib.sha256(data).hexdigest().encode() + data[start + 64 :]


def read_sealed(path: Path) -> bytes:
    """An exported file, if not one of its bytes has changed.

    Raises:
        BackendError: it is missing, too large, damaged, or was not exported by this program.
    """
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise BackendError(f"{path.name} is larger than {MAX_BYTES} bytes: {size}")
        data = path.read_bytes()
    except OSError as error:
        raise BackendError(f"cannot read {path.name}: {error.strerror or error}") from error
    start = data.rfind(_MARK) + len(_MARK)
    if start < len(_MARK):
        raise BackendError(f"{path.name} was not made by export-onnx")
    blank = data[:start] + _BLANK + data[start + 64 :]
    if hashlib.sha256(blank).hexdigest().encode() != data[start : start + 64]:
        raise BackendError(f"{path.name} is damaged; delete it, or run export-onnx again")
    return data


class OnnxNetwork:
    """An exported network, as a `Network` on as many threads as torch has.

    Args:
        data: an ONNX file.
        sha256: of the checkpoint that it must be of, hexadecimal.
        size: S, side of its crops.
        together: whether the crops of a call go through as one batch. One by one is faster:
            ONNX Runtime then knows all shapes, and plans its memory once.

    Raises:
        BackendError: ONNX Runtime is not installed or refuses the file, or it is of another
            checkpoint.
    """

    def __init__(self, data: bytes, sha256: str, size: int, *, together: bool = False) -> None:
        if not is_installed():
            raise BackendError("onnxruntime is not installed: see requirements-extra.txt")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised
        # Idle threads sleep: the browser draws on the same cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not together:
            options.add_free_dimension_override_by_name(BATCH_DIM, 1)
        try:
            session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
        except _FAILURES as error:
            raise BackendError(f"ONNX Runtime refuses the exported network: {error}") from error
        if session.get_modelmeta().custom_metadata_map.get(ORIGIN) != sha256:
            raise BackendError("the exported network is of other weights; run export-onnx again")
        found = {part.name: part.shape[1:] for part in session.get_inputs()}
        wanted = dict(zip(INPUTS, ([3, size, size], [PLANES, size, size], []), strict=True))
        if found != wanted:
            raise BackendError(f"the exported network takes {found}, not {wanted}")
        self._session, self._together = session, together

    def __call__(self, *inputs: Tensor) -> Tensor:
        """(B, 3, S, S), (B, 4, S, S) and (B,) -> (B, S/2, S/2) float logits.

        Raises:
            BackendError: ONNX Runtime fails.
        """
        step = len(inputs[0]) if self._together else 1
        rows = [
            {name: part.numpy() for name, part in zip(INPUTS, row, strict=True)}
            for row in zip(*(part.float().contiguous().split(step) for part in inputs), strict=True)
        ]
        try:
            answers = [self._session.run([OUTPUT], row)[0] for row in rows]
        except _FAILURES as error:
            raise BackendError(f"ONNX Runtime fails: {error}") from error
        return torch.cat([torch.from_numpy(answer) for answer in answers])


@dataclass(frozen=True)
class Trial:
    """How a network compares with another that is trusted.

    Attributes:
        difference: the largest of any logit; not a number where one is none.
        ratio: its seconds by the other's, median over pairs of runs one after the other.
    """

    difference: float
    ratio: float

    def check(self) -> None:
        """Refuse a network that does not answer the same.

        Raises:
            BackendError: a logit differs by more than TOLERANCE.
        """
        if not self.difference <= TOLERANCE:
            found = f"{self.difference:.1e}, more than {TOLERANCE:.0e}"
            raise BackendError(f"the exported network answers otherwise than torch, by {found}")


def compare(
    trusted: Network,
    network: Network,
    trials: Sequence[Inputs],
    clock: Callable[[], float] = time.perf_counter,
) -> Trial:
    """Run two networks in turn on the same inputs.

    Args:
        trusted: gives the right answers.
        network: the one on trial.
        trials: one or more inputs of `trial_inputs`; the first is run once more, to warm up.
        clock: seconds.

    Raises:
        BackendError: the answers differ in shape, or a network fails.
    """
    network(*trials[0]), trusted(*trials[0])
    differences, ratios = [], []
    for inputs in trials:
        begin = clock()
        expected = trusted(*inputs)
        half = clock()
        answer = network(*inputs)
        ratios.append((clock() - half) / (half - begin))
        if answer.shape != expected.shape:
            shapes = f"{tuple(answer.shape)} for {tuple(expected.shape)}"
            raise BackendError(f"the exported network answers {shapes}")
        differences.append((answer - expected).abs().max())
    return Trial(float(torch.stack(differences).max()), median(ratios))


def trial_inputs(size: int, count: int, seed: int = 0) -> Inputs:
    """Crops to try a network on, the same for each seed: noise, and pictures with prompts.

    Args:
        size: S, side of the crops.
        count: B; the first is noise, of the others every second one has strokes and a mask.
        seed: of the noise.

    Returns:
        (B, 3, S, S), (B, 4, S, S) and (B,), as a network takes them.
    """
    noise = torch.Generator().manual_seed(seed)

    def smooth(channels: int) -> Tensor:
        cells = torch.randn(count, channels, 8, 8, generator=noise)
        return F.interpolate(cells, (size, size), mode="bilinear")

    crops = smooth(3) + 0.1 * torch.randn(count, 3, size, size, generator=noise)
    crops[0] = torch.randn(3, size, size, generator=noise)
    prompts = torch.zeros(count, PLANES, size, size)
    low, high = size // 7, size - size // 7
    prompts[:, 0, low:high, low:high] = 1
    prompts[1::2, 1] = smooth(1)[1::2, 0].tanh()
    prompts[1::2, 2, low : low + 6, low : size // 2] = 1
    prompts[1::2, 3, high - 6 : high, low : size // 2] = 1
    areas = torch.tensor([4000.0, 20000.0, 500.0]).repeat(count)[:count]
    return crops, prompts, areas


def choose(
    backend: str,
    slow: Network,
    exported: Path,
    origin: tuple[str, int],
    clock: Callable[[], float] = time.perf_counter,
) -> Network:
    """The network that shall answer.

    Args:
        backend: "torch": the one in hand. "onnx": the exported one. "auto": the exported one if
            it answers sooner; the one in hand, too, where ONNX Runtime or the file is missing.
        slow: the network in torch.
        exported: the file of `export-onnx`.
        origin: SHA-256 of the checkpoint, and S, the side of its crops.
        clock: seconds.

    Raises:
        BackendError: the file cannot be used or answers otherwise than torch; or "onnx" was asked
            for and cannot be had.
    """
    if backend == "torch" or (backend == "auto" and not (is_installed() and exported.exists())):
        return slow
    quick = OnnxNetwork(read_sealed(exported), *origin)
    trials = [trial_inputs(origin[1], 1 + seed % 2, seed) for seed in range(PAIRS)]
    trial = compare(slow, quick, trials, clock)
    trial.check()
    log.info("ONNX Runtime takes %.2f of torch's time", trial.ratio)
    return quick if backend == "onnx" or trial.ratio < 1 else slow
