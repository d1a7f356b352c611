"""Settings come from the environment or flags, and refuse what cannot work."""

from pathlib import Path

import pytest

from app.errors import StudioError
from app.settings import Settings, is_loopback


def test_every_setting_can_come_from_the_environment() -> None:
    environ = {"MAL_DATA_DIR": "/data", "MAL_PORT": "8000", "MAL_DEVICE": "cpu", "HOME": "/"}
    settings = Settings.from_environment(environ)
    assert (settings.data_dir, settings.port, settings.device) == (Path("/data"), 8000, "cpu")


def test_the_database_is_a_file_of_the_folder_or_the_one_of_a_url() -> None:
    url = "postgresql+psycopg://studio:hush@db/mal"
    settings = Settings.from_environment({"MAL_DATABASE_URL": url, "MAL_DATA_DIR": "/data"})
    assert settings.database == url
    assert "hush" not in repr(settings)
    assert Settings(data_dir=Path("/data")).database == Path("/data/studio.db")


def test_a_flag_wins_over_the_environment_and_none_is_no_flag() -> None:
    settings = Settings.from_environment({"MAL_PORT": "8000"}, port=9000, host=None)
    assert (settings.port, settings.host) == (9000, "127.0.0.1")


def test_all_folders_lie_in_the_data_folder() -> None:
    settings = Settings(data_dir=Path("/data"))
    folders = (settings.images, settings.cache, settings.jobs, settings.models, settings.exports)
    assert {folder.parent for folder in (*folders, settings.database)} == {Path("/data")}
    assert len(set(folders)) == 5


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_address_is_taken(host: str) -> None:
    assert Settings(host=host).host == host
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_an_address_others_can_reach_is_known_as_one(host: str) -> None:
    assert not is_loopback(Settings(host=host).host)


@pytest.mark.parametrize("host", ["example.org", "", "127.0.0.1:80"])
def test_a_studio_listens_on_addresses_and_is_called_by_names(host: str) -> None:
    with pytest.raises(StudioError, match="MAL_ALLOWED_HOSTS"):
        Settings(host=host)


def test_allowed_names_are_listed_with_commas() -> None:
    settings = Settings.from_environment({"MAL_ALLOWED_HOSTS": "Studio.example, b.example.,"})
    assert settings.names == {"studio.example", "b.example"}
    assert Settings().names == frozenset()


@pytest.mark.parametrize(
    "url",
    [
        "s3://ada:hush@bucket/images",
        "s3://bucket/images?key=hush",
        "hush",
        "simplecache::s3://hush",
    ],
)
def test_where_images_are_is_a_plain_url_and_another_is_refused_unrepeated(url: str) -> None:
    assert Settings(images_url="s3://bucket/images").images_url == "s3://bucket/images"
    with pytest.raises(StudioError, match="credentials go into the variables") as refusal:
        Settings.from_environment({"MAL_IMAGES_URL": url})
    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        pytest.param({"MAL_PORT": "many"}, "MAL_PORT must be a whole number", id="not a number"),
        pytest.param({"MAL_PORT": ""}, "MAL_PORT is empty", id="empty"),
        pytest.param({"MAL_PORT": "70000"}, "port must be 0 to 65535", id="port too high"),
        pytest.param({"MAL_THREADS": "0"}, "threads must be 1", id="no thread"),
        pytest.param({"MAL_MAX_PIXELS": "-1"}, "max_pixels must be 1", id="no pixel"),
        pytest.param({"MAL_DEVICE": "gpu"}, "device must be one of", id="unknown device"),
        pytest.param({"MAL_BACKEND": "ort"}, "backend must be one of", id="unknown backend"),
        pytest.param({"MAL_LOG_FORMAT": "xml"}, "log_format must be one of", id="unknown format"),
        pytest.param({"MAL_PROT": "1"}, "MAL_PROT is not a setting", id="misspelt"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_what_must_hold(
    environ: dict[str, str], text: str
) -> None:
    with pytest.raises(StudioError, match=text):
        Settings.from_environment(environ)
