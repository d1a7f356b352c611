"""The architecture, as a test: who may import whom, and how long a file may grow."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A module may import only modules written before it in its own row.
LAYERS = {
    "mal_core": (
        *("errors", "extras", "files", "decode", "sources"),
        *("config", "finetune_config", "memory", "runstate"),
        *("geometry", "masks", "bulk", "polygons", "prompts"),
        *("encoder", "decoder", "paper", "model", "mae", "crf", "losses", "teacher", "metrics"),
        *(
            "coco_entries",
            "coco",
            "coco_large",
            "dataset",
            "pool",
            "paste",
            "views",
            "checkpoint",
            "convert",
            "refine",
        ),
        *("runtime", "export", "strokes", "predictor", "annotator", "calibrate", "evaluate"),
        *("material", "features", "tuning", "judging", "finetune", "simulate", "trainer"),
        *("pretrain", "shards", "parquet", "team", "cluster", "merge", "labeller", "autolabel"),
        *("worker", "commands", "__main__"),
    ),
    "app": (
        *(
            "errors",
            "holding",
            "settings",
            "logs",
            "records",
            "people",
            "session",
            "history",
            "leases",
        ),
        *("agreement", "consensus", "schema", "migrations", "store"),
        *("lockout", "accounts", "access", "auth"),
        *(
            "answers",
            "events",
            "daily",
            "entrance",
            "forms",
            "images",
            "room",
            "exchange",
            "children",
            "backends",
        ),
        *(
            "predictors",
            "workflow",
            "metrics",
            "vitals",
            "watch",
            "review",
            "assignments",
            "merging",
            "learning",
            "gate",
        ),
        *("ledger", "health", "worker", "rounds", "again", "batch", "jobs", "registry"),
        *("pictures", "library", "bodies", "wire", "programs", "calls", "client", "guard", "api"),
        *("desk", "downloads", "rest", "presence", "together", "chronicle", "logbook", "login"),
        *(
            "canvas",
            "pages",
            "ui",
            "server",
            "manual",
            "trade",
            "roster",
            "backup",
            "checkup",
            "restore",
        ),
        *("cli",),
    ),
}
# The only modules that may import a heavy third-party package.
FENCES = {
    "torch": {"mal_core", "app.server"},  # the server sets the number of threads
    "timm": {"mal_core.encoder"},
    "onnxruntime": {"mal_core.runtime"},
    "onnx": set(),  # torch's exporter needs it and onnxscript; nothing else does
    "onnxscript": set(),
    "gradio": {"app.canvas", "app.pages", "app.ui", "app.server"},
    "httpx": {"app.calls", "app.client"},
    "prometheus_client": {"app.metrics"},
    "sqlalchemy": {"app.schema", "app.store", "app.migrations"},
    "fastapi": {
        "app.guard",
        "app.login",
        "app.downloads",
        "app.logbook",
        "app.api",
        "app.desk",
        "app.together",
        "app.rest",
        "app.server",
    },
}
MAX_LINES, MAX_FUNCTION = 400, 60
MODULES = sorted(
    p
    for package in LAYERS
    for p in (ROOT / package).rglob("*.py")
    if "frontend" not in p.parts and p.name != "__init__.py"
)
SOURCES = sorted(
    p
    for folder in ("mal_core", "app", "tests", "bench")
    for p in (ROOT / folder).rglob("*.py")
    if "node_modules" not in p.parts
)


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield every absolute name imported anywhere in a file, as package.module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: use absolute imports"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_its_left(path: Path) -> None:
    package, module, *_ = path.relative_to(ROOT).with_suffix("").parts
    order = LAYERS[package]
    assert module in order, f"{package}.{module} has no place in LAYERS"
    for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        top, *tail = name.split(".")
        assert (package, top) != ("mal_core", "app"), "mal_core must not know app"
        if top == package and tail and tail[0] in order and tail[0] != module:
            assert order.index(tail[0]) < order.index(module), f"imports upward: {name}"
        if top in FENCES:
            assert FENCES[top] & {package, f"{package}.{module}"}, f"may not import {top}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_at_its_top_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, f"{node.name} imports inside"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_stays_small_and_says_what_it_is(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert len(source.splitlines()) <= MAX_LINES
    assert ast.get_docstring(tree), "no module docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION, f"{node.name} is too long"


def test_every_layer_exists() -> None:
    for package, modules in LAYERS.items():
        for module in modules:
            places = (ROOT / package / module, ROOT / package / f"{module}.py")
            assert any(place.exists() for place in places), f"{package}.{module} is gone"


BANNED = re.compile(r"\b(pickle|torch\.load|gr\.load|share=True|FileExplorer|GoogleFont)\b")
# MAE and the official MAL are published in torch's own format. Its restricted reader executes
# nothing; one module may call it, so that everything else keeps to safetensors.
READER, RESTRICTED = "mal_core/convert.py", re.compile(r"torch\.load\([^()]*, weights_only=True\)")


def forbidden(name: str, source: str) -> re.Match[str] | None:
    return BANNED.search(RESTRICTED.sub("", source) if name == READER else source)


def test_nothing_is_pickled_and_nothing_calls_home() -> None:
    for path in MODULES:
        found = forbidden(name_of(path), path.read_text(encoding="utf-8"))
        assert found is None, f"{name_of(path)}: {found}"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        pytest.param(READER, "torch.load(path)", id="unrestricted"),
        pytest.param(READER, "torch.load(path, weights_only=False)", id="restricted-not"),
        pytest.param(READER, "torch.load(path, weights_only=trusted)", id="restricted-perhaps"),
        pytest.param(READER, "read = torch.load", id="under-another-name"),
        pytest.param(READER, "import pickle", id="pickle-itself"),
        pytest.param(
            "mal_core/checkpoint.py", "torch.load(path, weights_only=True)", id="another-module"
        ),
    ],
)
def test_only_convert_reads_torch_s_format_and_only_restricted(name: str, source: str) -> None:
    assert forbidden(name, source)
