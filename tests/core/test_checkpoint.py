"""Checkpoints: what is saved comes back, and a hostile file is an error, at once and cheaply."""

import errno
import hashlib
import json
import math
import os
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mal_core import checkpoint
from mal_core.checkpoint import Checkpoint
from mal_core.errors import CheckpointError
from mal_core.masks import decode
from mal_core.predictor import Predictor

Header = dict[str, Any]
Change = Callable[[Header, bytes], bytes]
BIAS = "dec.in1.0.bias"  # 256 float16 values
LARGEST = {"dim": 2048, "depth": 48, "heads": 64, "mlp": 8.0, "img": 1024, "reg": 32}
MEASURE = """
import resource, sys
from pathlib import Path
from mal_core import checkpoint
from mal_core.errors import CheckpointError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    try:
        checkpoint.load(Path(name))
    except CheckpointError:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.fixture
def saved(tiny: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "good.safetensors"
    checkpoint.save(tiny.model, path, tiny.metadata)
    return path


def take_apart(data: bytes) -> tuple[Header, bytes]:
    stop = 8 + struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:stop]), data[stop:]


def join(header: Header, tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def with_config(**changes: object) -> Change:
    """The file with other entries in its config."""

    def change(header: Header, tensors: bytes) -> bytes:
        config = json.loads(header["__metadata__"]["config"]) | changes
        header["__metadata__"]["config"] = json.dumps(config)
        return join(header, tensors)

    return change


def with_note(name: str, text: str | None) -> Change:
    """The file with another note, or without it."""

    def change(header: Header, tensors: bytes) -> bytes:
        del header["__metadata__"][name]
        if text is not None:
            header["__metadata__"][name] = text
        return join(header, tensors)

    return change


def with_entry(name: str, **changes: object) -> Change:
    """The file with another description of one tensor."""

    def change(header: Header, tensors: bytes) -> bytes:
        header[name] |= changes
        return join(header, tensors)

    return change


def with_value(value: float) -> Change:
    """The file with another first number in one tensor."""

    def change(header: Header, tensors: bytes) -> bytes:
        start = header[BIAS]["data_offsets"][0]
        return join(header, tensors[:start] + struct.pack("<e", value) + tensors[start + 2 :])

    return change


def truncated(share: float) -> Change:
    def change(header: Header, tensors: bytes) -> bytes:
        data = join(header, tensors)
        return data[: int(share * len(data))]

    return change


def without_a_tensor(header: Header, tensors: bytes) -> bytes:
    """Its bytes go too, so that the file is whole: only the name is missing."""
    start, stop = header.pop(BIAS)["data_offsets"]
    for entry in header.values():
        if "data_offsets" in entry and entry["data_offsets"][0] >= stop:
            entry["data_offsets"] = [place - (stop - start) for place in entry["data_offsets"]]
    return join(header, tensors[:start] + tensors[stop:])


def with_another_tensor(header: Header, tensors: bytes) -> bytes:
    end = len(tensors)
    header["extra"] = {"dtype": "F16", "shape": [1], "data_offsets": [end, end + 2]}
    return join(header, tensors + b"\0\0")


def renamed_as_our_module(header: Header, tensors: bytes) -> bytes:
    header["encoder.pos"] = header.pop("pos")
    return join(header, tensors)


HOSTILE = [
    pytest.param(lambda _, __: b"", id="empty"),
    pytest.param(lambda _, __: b"\0" * 8, id="no-header"),
    pytest.param(lambda _, __: b"weights? what weights?\n" * 99, id="text"),
    pytest.param(lambda _, t: struct.pack("<Q", 2**63) + t, id="header-of-8-EiB"),
    pytest.param(lambda _, t: struct.pack("<Q", 90 * 2**20) + t, id="header-beyond-the-file"),
    pytest.param(lambda _, t: struct.pack("<Q", 64) + b"[" * 64 + t, id="header-not-json"),
    pytest.param(truncated(0.0001), id="cut-in-the-length"),
    pytest.param(truncated(0.001), id="cut-in-the-header"),
    pytest.param(truncated(0.5), id="cut-in-the-middle"),
    pytest.param(truncated(0.99999), id="cut-at-the-end"),
    pytest.param(lambda h, t: join(h, t) + b"\0" * 64, id="longer-than-it-says"),
    pytest.param(without_a_tensor, id="a-tensor-missing"),
    pytest.param(with_another_tensor, id="a-tensor-too-many"),
    pytest.param(renamed_as_our_module, id="a-tensor-under-our-own-name"),
    pytest.param(with_entry(BIAS, shape=[16, 16]), id="another-shape"),
    pytest.param(with_entry(BIAS, shape=[2**40, 2**40]), id="a-shape-that-overflows"),
    pytest.param(with_entry(BIAS, dtype="I16"), id="whole-numbers"),
    pytest.param(with_entry(BIAS, dtype="F8"), id="an-unknown-type"),
    pytest.param(with_entry(BIAS, data_offsets=[0, 512]), id="tensors-that-overlap"),
    pytest.param(with_value(math.nan), id="nan"),
    pytest.param(with_value(math.inf), id="infinity"),
    pytest.param(lambda h, t: join({k: v for k, v in h.items() if k[0] != "_"}, t), id="no-notes"),
    pytest.param(with_note("config", None), id="no-config"),
    pytest.param(with_note("config", "dim=32"), id="config-not-json"),
    pytest.param(with_note("config", "null"), id="config-null"),
    pytest.param(with_note("config", "[1, 2]"), id="config-a-list"),
    pytest.param(with_note("config", "[" * 200_000), id="config-nested-deeply"),
    pytest.param(with_note("config", '{"a":' * 200_000), id="config-objects-nested-deeply"),
    pytest.param(with_config(dim=10**9), id="dim-a-billion"),
    pytest.param(with_config(dim=10**400), id="dim-beyond-float"),
    pytest.param(with_config(dim=32.0), id="dim-a-float"),
    pytest.param(with_config(dim="32"), id="dim-text"),
    pytest.param(with_config(dim=-32), id="dim-negative"),
    pytest.param(with_config(dim=math.nan), id="dim-nan"),
    pytest.param(with_config(depth=10**9), id="depth-a-billion"),
    pytest.param(with_config(depth=3.0), id="depth-a-float"),
    pytest.param(with_config(heads=3), id="dim-not-a-multiple-of-heads"),
    pytest.param(with_config(heads=0), id="no-heads"),
    pytest.param(with_config(img=65), id="crop-not-a-multiple-of-16"),
    pytest.param(with_config(reg=None), id="registers-null"),
    pytest.param(with_config(mlp=1e300), id="mlp-huge"),
    pytest.param(with_config(**LARGEST), id="the-largest-network-there-is"),
    pytest.param(with_config(stem="patch"), id="another-stem"),
    pytest.param(with_config(pin=3), id="other-prompts"),
    pytest.param(with_note("threshold", "2"), id="threshold-2"),
    pytest.param(with_note("threshold", "nan"), id="threshold-nan"),
    pytest.param(with_note("threshold", "high"), id="threshold-text"),
    pytest.param(with_note("eval_expand", "-0.1"), id="margin-negative"),
    pytest.param(with_note("eval_expand", "1e999"), id="margin-infinite"),
]


def test_a_saved_network_comes_back_rounded_to_half_precision(
    tiny: Checkpoint, saved: Path
) -> None:
    loaded = checkpoint.load(saved)
    assert loaded.model.config == tiny.model.config
    assert (loaded.crop, loaded.threshold) == (tiny.crop, tiny.threshold)
    found = loaded.model.state_dict()
    for name, value in tiny.model.state_dict().items():
        assert torch.equal(found[name], value.half().float())


def test_a_network_saved_again_is_the_same_file(saved: Path, tmp_path: Path) -> None:
    loaded, copy = checkpoint.load(saved), tmp_path / "copy.safetensors"
    checkpoint.save(loaded.model, copy, loaded.metadata)
    assert copy.read_bytes() == saved.read_bytes()


def test_any_reader_of_safetensors_can_read_a_saved_file(tiny: Checkpoint, saved: Path) -> None:
    tensors = load_file(saved)
    assert struct.unpack("<Q", saved.read_bytes()[:8])[0] % 8 == 0  # tensors lie aligned
    assert len(tensors) == len(tiny.model.state_dict())
    assert torch.equal(tensors["dec.key.0.bias"], tiny.model.decoder.key[0].bias.half())
    assert torch.equal(tensors["pos"], tiny.model.encoder.pos.half())


def test_the_hash_is_that_of_the_file(tiny: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    told = checkpoint.save(tiny.model, path, {})
    assert told == hashlib.sha256(path.read_bytes()).hexdigest()
    assert told == checkpoint.load(path).sha256 == checkpoint.file_sha256(path)


def test_notes_are_kept_and_the_config_is_written_anew(tiny: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    notes = {"made by": "a hånd", "config": "of the parent", "threshold": "0.3"}
    checkpoint.save(tiny.model, path, notes)
    found = dict(checkpoint.load(path).metadata)
    assert json.loads(found.pop("config"))["dim"] == 32
    assert found == {"made by": "a hånd", "threshold": "0.3"}


def test_saving_leaves_the_network_alone(tiny: Checkpoint, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    checkpoint.save(tiny.model, tmp_path / "new.safetensors", {})
    for name, value in tiny.model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[name])


def test_a_loaded_network_does_not_change_with_its_file(saved: Path, tmp_path: Path) -> None:
    full = tmp_path / "float32.safetensors"
    header, _ = take_apart(saved.read_bytes())
    tensors = {name: value.float() for name, value in load_file(saved).items()}
    save_file(tensors, full, header["__metadata__"])
    loaded = checkpoint.load(full)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    with full.open("r+b") as file:
        file.write(b"\xff" * full.stat().st_size)
    assert all(torch.equal(v, before[k]) for k, v in loaded.model.state_dict().items())


def test_a_predictor_on_another_device_leaves_the_checkpoint_where_it_is(
    tiny: Checkpoint,
) -> None:
    Predictor(tiny, torch.device("meta"))
    assert not any(p.is_meta for p in tiny.model.parameters())


@pytest.mark.parametrize("change", HOSTILE)
def test_a_hostile_file_is_refused_without_much_memory(saved: Path, change: Change) -> None:
    path = saved.with_name("hostile.safetensors")
    path.write_bytes(change(*take_apart(saved.read_bytes())))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"hostile\.safetensors") as caught:
            checkpoint.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(without_a_tensor, f"lacks 1 tensors: {BIAS}", id="missing"),
        pytest.param(with_another_tensor, "has 1 unknown: 'extra'", id="unknown"),
        pytest.param(
            with_entry(BIAS, shape=[16, 16]),
            f"{BIAS} must be float [256], got F16 [16, 16]",
            id="another-shape",
        ),
        pytest.param(with_value(math.nan), f"{BIAS} holds values that are not finite", id="nan"),
    ],
)
def test_the_error_names_the_tensor_at_fault(saved: Path, change: Change, message: str) -> None:
    saved.write_bytes(change(*take_apart(saved.read_bytes())))
    with pytest.raises(CheckpointError, match=re.escape(message)):
        checkpoint.load(saved)


@pytest.mark.slow
def test_the_size_a_file_claims_costs_no_memory(saved: Path) -> None:
    names = []
    for change in ({"dim": 10**9}, {"depth": 10**9}, LARGEST):
        names.append(str(saved.with_name(f"{len(names)}.safetensors")))
        Path(names[-1]).write_bytes(with_config(**change)(*take_apart(saved.read_bytes())))
    command = [sys.executable, "-c", MEASURE, *names]
    grown = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    assert len(grown) == 3
    assert max(map(int, grown)) < 200 * 2**10  # KiB; the largest network would take 10 GB


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "model.pt"
    torch.save({"trap": Trap()}, path)
    with pytest.raises(CheckpointError):
        checkpoint.load(path)
    assert not (tmp_path / "sprung").exists()


def test_a_zip_is_refused(saved: Path) -> None:
    path = saved.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(saved)
    with pytest.raises(CheckpointError):
        checkpoint.load(path)


@pytest.mark.parametrize("name", [".", "missing.safetensors", "no/such/folder.safetensors"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path / name)


@pytest.mark.parametrize("value", [math.nan, 1e6], ids=["nan", "beyond-half-precision"])
def test_weights_that_are_not_finite_are_not_saved(
    tiny: Checkpoint, saved: Path, value: float
) -> None:
    before = saved.read_bytes()
    with torch.no_grad():
        tiny.model.encoder.pos[0, 0, 0] = value
    with pytest.raises(CheckpointError, match="pos holds values that are not finite"):
        checkpoint.save(tiny.model, saved, {})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(
    tiny: Checkpoint, saved: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(*((os, "fsync", fail) if step == "fsync" else (Path, "replace", fail)))
    with pytest.raises(CheckpointError, match=r"cannot write good\.safetensors: No space left"):
        checkpoint.save(tiny.model, saved, {"other": "notes"})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_save_into_no_folder_is_refused(tiny: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot write"):
        checkpoint.save(tiny.model, tmp_path / "no" / "new.safetensors", {})


def test_a_saved_network_predicts_what_it_did(tiny: Checkpoint, saved: Path) -> None:
    rounded = checkpoint.load(saved)
    full = replace(rounded, model=tiny.model)
    image = torch.arange(40 * 40 * 3).reshape(40, 40, 3).to(torch.uint8).numpy()
    first, second = (
        Predictor(c, torch.device("cpu")).predict(image, [(4.0, 4.0, 30.0, 30.0)])
        for c in (full, rounded)
    )
    assert torch.allclose(first.probs, second.probs, atol=1e-2)
    assert decode(first.masks(0.0)[0]).sum() == 26 * 26
