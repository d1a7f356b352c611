"""The files for servers fit the code. No container engine runs here: this is what can be held."""

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings
from app.vitals import PATHS
from app.watch import DRAIN_SECONDS

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = DOCKERFILE.replace("\\\n", " ").splitlines()


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8")))


def settings_in(text: str) -> set[str]:
    return {name.lower() for name in re.findall(r"\bMAL_([A-Z_]+)\b", text)}


@pytest.mark.parametrize(
    "path", [ROOT / "Dockerfile", ROOT / "docs" / "deploy.md", *sorted(DEPLOY.iterdir())],
    ids=lambda path: path.name,
)  # fmt: skip
def test_every_variable_is_a_setting(path: Path) -> None:
    assert settings_in(path.read_text(encoding="utf-8")) <= {*Settings.__dataclass_fields__}


def test_the_settings_of_the_image_can_be_used() -> None:
    pairs = re.findall(r"(MAL_\w+)=(\S+)", DOCKERFILE)
    settings = Settings.from_environment(dict(pairs))
    assert (settings.host, settings.log_format) == ("0.0.0.0", "json")
    assert f"EXPOSE {settings.port}" in DOCKERFILE
    assert f"VOLUME {settings.data_dir}" in DOCKERFILE


def test_the_image_copies_what_there_is_and_nothing_else_gets_in() -> None:
    copied = [line.split()[1:-1] for line in LINES if line.startswith("COPY ") and "--" not in line]
    names = {name for line in copied for name in line}
    assert {"app.py", "app", "mal_core", "weights", "requirements.txt"} <= names
    assert all((ROOT / name).exists() for name in names)
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in ignore if line.startswith("!")}
    assert ignore[1] == "*"
    assert let_in == names


def test_the_image_does_not_run_as_root_and_asks_whether_it_lives() -> None:
    last = DOCKERFILE.rindex("FROM ")
    assert re.search(r"^USER [1-9]\d+$", DOCKERFILE[last:], re.MULTILINE)
    assert any(path in DOCKERFILE for path in PATHS)
    assert "ARG TORCH_INDEX=cpu" in DOCKERFILE


def test_services_wait_for_what_they_need_and_name_only_what_exists() -> None:
    plan = compose()
    services = plan["services"]
    assert set(services) == {"studio", "database", "proxy"}
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert set(service["networks"]) <= set(plan["networks"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in plan["volumes"] or (DEPLOY / source).exists(), volume
    assert services["studio"]["depends_on"]["database"]["condition"] == "service_healthy"
    assert "healthcheck" in services["database"]


def test_only_the_proxy_is_reached_from_outside() -> None:
    services = compose()["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]


def test_the_database_the_studio_is_told_of_is_the_one_that_runs() -> None:
    services = compose()["services"]
    url, of = services["studio"]["environment"]["MAL_DATABASE_URL"], services["database"]
    user, name = of["environment"]["POSTGRES_USER"], of["environment"]["POSTGRES_DB"]
    password = of["environment"]["POSTGRES_PASSWORD"]
    assert url == f"postgresql+psycopg://{user}:{password}@database/{name}"


def test_no_secret_stands_in_a_file() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text("utf-8")))
    example = dict(
        line.split("=", 1)
        for line in (DEPLOY / "env.example").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    )
    assert needed <= set(example)
    assert example["DATABASE_PASSWORD"] == ""


def test_the_gpu_is_added_to_the_same_studio() -> None:
    added = compose("compose.cuda.yaml")["services"]
    assert set(added) == {"studio"}
    assert added["studio"]["environment"]["MAL_DEVICE"] == "cuda"


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / "mal-studio.service", "utf-8")
    return parser


def test_whoever_stops_it_waits_longer_than_it_takes() -> None:
    assert float(unit()["Service"]["TimeoutStopSec"]) >= DRAIN_SECONDS + 15
    grace = compose()["services"]["studio"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) >= DRAIN_SECONDS + 15


def test_the_unit_starts_the_studio_in_its_own_folder_as_nobody_special() -> None:
    service = unit()["Service"]
    assert service["ExecStart"].endswith("/.venv/bin/python app.py")
    assert service["User"] == "mal"
    assert "MAL_DATA_DIR=/var/lib/" in service["Environment"]
