"""The network on ONNX Runtime: it answers as torch does, or it does not answer."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from PIL import Image as PilImage
from torch import Tensor

from mal_core import export, runtime
from mal_core.__main__ import main
from mal_core.errors import BackendError
from mal_core.export import prove
from mal_core.geometry import Image
from mal_core.masks import RLE, decode
from mal_core.model import MAL
from mal_core.paper import box_scale
from mal_core.predictor import Predictor
from mal_core.prompts import Stroke
from mal_core.runtime import (
    PAIRS,
    TOLERANCE,
    Inputs,
    OnnxNetwork,
    Trial,
    beside,
    choose,
    compare,
    read_sealed,
    seal,
    trial_inputs,
)
from tests.core.exported import DESIGNS, SIZE, Clock, Exported, make

BOXES = [(50.0, 50.0, 170.0, 190.0), (250.0, 130.0, 320.0, 240.0), (8.5, 9.0, 30.0, 31.0)]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return make(DESIGNS["studio"], tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return make(DESIGNS["paper"], tmp_path_factory.mktemp("paper"))


@pytest.fixture(params=list(DESIGNS))
def exported(request: pytest.FixtureRequest) -> Exported:
    made = request.getfixturevalue(request.param)
    assert isinstance(made, Exported)
    return made


@pytest.mark.parametrize("together", [True, False], ids=["a-batch", "one-by-one"])
@pytest.mark.parametrize("crops", [1, 3, 8])
def test_an_exported_network_answers_as_torch_does(
    exported: Exported, crops: int, together: bool
) -> None:
    network = OnnxNetwork(exported.data, *exported.origin, together=together)
    inputs = trial_inputs(SIZE, crops, seed=20)
    answer = network(*inputs)
    assert answer.shape == (crops, SIZE // 2, SIZE // 2)
    assert (answer - exported.in_torch(*inputs)).abs().max() <= TOLERANCE


def test_trials_hold_every_scale_of_a_box_and_every_kind_of_prompt() -> None:
    crops, prompts, areas = trial_inputs(SIZE, 3)
    assert sorted(box_scale(areas).tolist()) == [0, 1, 2]
    assert prompts[0, 1:].abs().sum() == 0
    assert all(plane.abs().sum() > 0 for plane in prompts[1])
    assert len({crop.sum().item() for crop in crops}) == 3


def test_each_input_that_a_design_reads_counts(studio: Exported, paper: Exported) -> None:
    crops, prompts, areas = trial_inputs(SIZE, 1)
    other = prompts.clone()
    other[:, 2, :20] = 1
    network = OnnxNetwork(studio.data, *studio.origin)
    assert (network(crops, prompts, areas) - network(crops, other, areas)).abs().max() > 0.01
    scaled = OnnxNetwork(paper.data, *paper.origin)
    assert (scaled(crops, prompts, areas) - scaled(crops, prompts, areas / 9)).abs().max() > 1e-3


def test_the_command_prints_one_line_of_facts_and_nothing_else(exported: Exported) -> None:
    facts = json.loads(exported.printed)
    assert facts["weights"] == exported.checkpoint.sha256
    assert facts["bytes"] == exported.onnx.stat().st_size
    assert float(facts["difference"]) <= TOLERANCE


def test_the_file_names_no_folder_of_this_machine(exported: Exported) -> None:
    for folder in (Path(export.__file__).parent, Path(torch.__file__).parent):
        assert str(folder).encode() not in exported.data
    assert b"stack_trace" not in exported.data


def test_an_export_that_answers_otherwise_leaves_what_was_there(
    studio: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(studio.checkpoint, model=MAL(DESIGNS["studio"]).eval())
    with pytest.raises(BackendError, match="answers otherwise than torch"):
        prove(wrong, studio.data)
    monkeypatch.setattr(export, "to_onnx", lambda _: studio.data)
    out = tmp_path / "old.onnx"
    out.write_bytes(b"old")
    with pytest.raises(BackendError, match="answers otherwise than torch"):
        export.export(wrong, out)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("old.onnx", b"old")]


def test_an_export_into_no_folder_is_told(
    studio: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "to_onnx", lambda _: studio.data)
    with pytest.raises(BackendError, match=r"cannot write new\.onnx: No such file"):
        export.export(studio.checkpoint, tmp_path / "none" / "new.onnx")


def flip(data: bytes, place: float) -> bytes:
    at = int(place * (len(data) - 1))
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def unsealed(data: bytes) -> bytes:
    return data[: data.rfind(runtime.SEAL.encode()) - 4]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda _: b"", "not made by export-onnx", id="empty"),
        pytest.param(lambda _: b"\x08\x0a" * 99, "not made by export-onnx", id="no-network"),
        pytest.param(unsealed, "not made by export-onnx", id="of-another-program"),
        pytest.param(lambda d: flip(d, 0), "damaged", id="first-byte"),
        pytest.param(lambda d: flip(d, 0.3), "damaged", id="a-weight"),
        pytest.param(lambda d: flip(d, 0.999), "damaged", id="the-graph"),
        pytest.param(lambda d: flip(d, 1), "damaged", id="last-byte"),
        pytest.param(lambda d: d[1000:], "damaged", id="front-cut"),
        pytest.param(lambda d: d[:-9], "damaged", id="end-cut"),
        pytest.param(lambda d: d + b"\0", "damaged", id="longer"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_before_it_is_read(
    studio: Exported, tmp_path: Path, spoil: object, message: str
) -> None:
    assert callable(spoil)
    path = tmp_path / "spoilt.onnx"
    path.write_bytes(spoil(studio.data))
    with pytest.raises(BackendError, match=message):
        read_sealed(path)
    predictor = Predictor(studio.checkpoint, torch.device("cpu"))
    for backend in ("auto", "onnx"):
        with pytest.raises(BackendError, match=message):
            predictor.hasten(path, backend)
        assert predictor.backend == "torch"


def test_a_damaged_file_beside_the_weights_leaves_torch_to_answer(
    studio: Exported, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(studio.weights.read_bytes())
    beside(weights).write_bytes(flip(studio.data, 0.5))
    assert Predictor.load(weights, "cpu", backend="auto").backend == "torch"
    assert "weights.onnx is damaged" in caplog.text
    with pytest.raises(BackendError, match="damaged"):
        Predictor.load(weights, "cpu", backend="onnx")


def test_a_file_that_is_missing_or_too_large_is_refused(
    studio: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendError, match=r"cannot read none\.onnx"):
        read_sealed(tmp_path / "none.onnx")
    assert read_sealed(studio.onnx) == studio.data
    monkeypatch.setattr(runtime, "MAX_BYTES", 1000)
    with pytest.raises(BackendError, match="larger than 1000 bytes"):
        read_sealed(studio.onnx)


def test_a_seal_needs_its_place() -> None:
    with pytest.raises(ValueError, match="64 zeros"):
        seal(b"no note")


def test_a_sealed_file_of_other_weights_or_of_no_network_is_refused(
    studio: Exported, paper: Exported
) -> None:
    with pytest.raises(BackendError, match="of other weights"):
        OnnxNetwork(paper.data, *studio.origin)
    with pytest.raises(BackendError, match="takes"):
        OnnxNetwork(studio.data, studio.checkpoint.sha256, 2 * SIZE)
    with pytest.raises(BackendError, match="refuses"):
        OnnxNetwork(b"\x08\x0a" * 99, *studio.origin)


def test_inputs_that_do_not_fit_are_told_as_ours(studio: Exported) -> None:
    network = OnnxNetwork(studio.data, *studio.origin)
    crops, prompts, areas = trial_inputs(SIZE, 1)
    with pytest.raises(BackendError, match="ONNX Runtime fails"):
        network(crops[:, :2], prompts, areas)


@pytest.mark.parametrize(
    ("seconds", "backend", "winner"),
    [
        pytest.param([(1.0, 0.8)] * PAIRS, "auto", "onnx", id="faster"),
        pytest.param([(1.0, 1.2)] * PAIRS, "auto", "torch", id="slower"),
        pytest.param([(1.0, 1.0)] * PAIRS, "auto", "torch", id="as-fast"),
        pytest.param(
            [(1.0, 0.8), (1.0, 9.0), (1.0, 0.9), (1.0, 8.0), (2.0, 1.5)],
            *("auto", "onnx"),
            id="disturbed-twice",
        ),
        pytest.param([(1.0, 1.2)] * PAIRS, "onnx", "onnx", id="slower-but-wanted"),
        pytest.param([], "torch", "torch", id="not-wanted"),
    ],
)
def test_the_faster_one_answers(
    studio: Exported, seconds: Sequence[tuple[float, float]], backend: str, winner: str
) -> None:
    clock = Clock(seconds)
    chosen = choose(backend, studio.in_torch, studio.onnx, studio.origin, clock)
    assert (chosen == studio.in_torch) == (winner == "torch")
    assert isinstance(chosen, OnnxNetwork) == (winner == "onnx")


def test_without_a_file_torch_answers_and_nothing_is_measured(
    studio: Exported, tmp_path: Path
) -> None:
    none = tmp_path / "none.onnx"
    assert choose("auto", studio.in_torch, none, studio.origin, Clock([])) == studio.in_torch
    with pytest.raises(BackendError, match="cannot read"):
        choose("onnx", studio.in_torch, none, studio.origin)


def test_without_onnxruntime_torch_answers(
    studio: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "onnxruntime", None)
    assert choose("auto", studio.in_torch, studio.onnx, studio.origin) == studio.in_torch
    with pytest.raises(BackendError, match="onnxruntime is not installed"):
        choose("onnx", studio.in_torch, studio.onnx, studio.origin)


def test_without_the_exporter_s_libraries_they_are_named(
    studio: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(BackendError, match="needs onnxscript: see requirements-extra"):
        export.export(studio.checkpoint, tmp_path / "new.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shift", "refused"),
    [
        pytest.param(0.5e-4, False, id="near"),
        pytest.param(1.5e-4, True, id="above"),
        pytest.param(-1.5e-4, True, id="below"),
        pytest.param(float("nan"), True, id="no-number"),
        pytest.param(float("inf"), True, id="endless"),
    ],
)
def test_one_logit_of_one_crop_decides_whether_two_networks_answer_the_same(
    shift: float, refused: bool
) -> None:
    calls = count()

    def zeros(crops: Tensor, *_: Tensor) -> Tensor:
        return torch.zeros(len(crops), 4, 4)

    def shifted(*inputs: Tensor) -> Tensor:
        answer = zeros(*inputs)
        if next(calls) == 2:  # in the second trial; the warm-up came first
            answer[1, 2, 3] = shift
        return answer

    trials: list[Inputs] = [trial_inputs(SIZE, 2, seed) for seed in range(3)]
    trial = compare(zeros, shifted, trials, Clock([(1, 1)] * 3))
    if refused:
        with pytest.raises(BackendError, match="answers otherwise"):
            trial.check()
    else:
        trial.check()
        assert trial == Trial(pytest.approx(shift), 1)


def test_an_answer_of_another_shape_is_not_the_same() -> None:
    trials = [trial_inputs(SIZE, 2)]
    with pytest.raises(BackendError, match=r"\(1, 4, 4\) for \(2, 4, 4\)"):
        compare(lambda *_: torch.zeros(2, 4, 4), lambda *_: torch.zeros(1, 4, 4), trials)


def test_onnx_runtime_has_torch_s_threads_and_lets_idle_ones_sleep(studio: Exported) -> None:
    options = OnnxNetwork(studio.data, *studio.origin)._session.get_session_options()
    assert options.intra_op_num_threads == torch.get_num_threads()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def strokes() -> list[list[Stroke]]:
    add = Stroke([(60.0, 60.0), (90.0, 100.0)], 8, adds=True)
    take = Stroke([(300.0, 150.0)], 12, adds=False)
    return [[add], [take], []]


@pytest.mark.parametrize("drawn", [False, True], ids=["boxes", "strokes"])
def test_a_predictor_s_masks_differ_at_most_where_the_threshold_lies(
    exported: Exported, scene: Image, drawn: bool
) -> None:
    marks = strokes() if drawn else None
    slow = Predictor.load(exported.weights, "cpu")
    quick = Predictor.load(exported.weights, "cpu", backend="onnx")
    assert (slow.backend, quick.backend) == ("torch", "onnx")
    expected, answer = (p.predict(scene, BOXES, marks) for p in (slow, quick))
    assert (answer.probs - expected.probs).abs().max() <= TOLERANCE
    lower, upper = (expected.masks(expected.threshold + s * TOLERANCE) for s in (1, -1))
    for mask, small, large in zip(answer.masks(), lower, upper, strict=True):
        assert not (decode(small) & ~decode(mask)).any()
        assert not (decode(mask) & ~decode(large)).any()


def test_threads_share_a_predictor_on_onnx_runtime(studio: Exported, scene: Image) -> None:
    quick = Predictor.load(studio.weights, "cpu", backend="onnx")

    def label(_: int) -> list[RLE]:
        return quick.predict(scene, BOXES).masks()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(label, range(8)))
    assert all(answer == answers[0] for answer in answers)


def test_a_predictor_turns_to_onnx_runtime_and_back(studio: Exported, scene: Image) -> None:
    predictor = Predictor.load(studio.weights, "cpu")
    before = predictor.predict(scene, BOXES).probs
    predictor.hasten(studio.onnx, "onnx")
    assert predictor.backend == "onnx"
    predictor.hasten(studio.onnx, "torch")
    assert predictor.backend == "torch"
    assert torch.equal(predictor.predict(scene, BOXES).probs, before)


def test_a_box_that_onnx_runtime_fails_at_gets_its_mask_from_torch(
    studio: Exported,
    scene: Image,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = Predictor.load(studio.weights, "cpu").predict(scene, BOXES, strokes())
    quick = Predictor.load(studio.weights, "cpu", backend="onnx")

    def fail(*_: Tensor) -> Tensor:
        raise BackendError("ONNX Runtime fails: no memory")

    monkeypatch.setattr(OnnxNetwork, "__call__", fail)
    assert torch.equal(quick.predict(scene, BOXES, strokes()).probs, expected.probs)
    assert quick.backend == "torch"
    assert caplog.text.count("no memory; torch answers from now on") == 1


def test_only_a_cpu_can_have_onnx_runtime(studio: Exported) -> None:
    elsewhere = Predictor(studio.checkpoint, torch.device("meta"))
    elsewhere.hasten(studio.onnx, "auto")
    assert elsewhere.backend == "torch"
    with pytest.raises(BackendError, match="on the CPU only"):
        elsewhere.hasten(studio.onnx, "onnx")


def test_the_command_line_answers_the_same_on_both(
    studio: Exported, scene: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.png"
    PilImage.fromarray(scene).save(photo)
    flags = ["predict", str(photo), "--box", "50", "50", "170", "190", "--json", "--backend"]
    rows = []
    for backend in ("torch", "onnx"):
        assert main([*flags, backend, "--weights", str(studio.weights), "--device", "cpu"]) == 0
        rows += json.loads(capsys.readouterr().out)
    assert rows[0]["score"] == pytest.approx(rows[1]["score"], abs=2e-4)
    studio.onnx.rename(tmp_path / "away.onnx")
    try:
        assert main([*flags, "onnx", "--weights", str(studio.weights), "--device", "cpu"]) == 1
        assert "cannot read weights.onnx" in capsys.readouterr().err
        assert main([*flags, "auto", "--weights", str(studio.weights), "--device", "cpu"]) == 0
    finally:
        (tmp_path / "away.onnx").rename(studio.onnx)
