"""Fine-tunes and kill -9: of the trainer, of the studio, of the publishing itself."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import NotAllowed
from app.jobs import Jobs
from app.records import JobState
from app.settings import PHOTOS, REMINDERS, Settings
from mal_core import coco
from mal_core.dataset import read_image
from tests.studio.conftest import Studio
from tests.studio.nursery import Nursery, wait_until
from tests.studio.trainer import (
    DIE,
    TRAINER,
    WAIT,
    begun,
    ended,
    learned,
    model_in_use,
    open_jobs,
    run,
    wait_for,
)

Child = Callable[[str], None]
ROOT = Path(__file__).resolve().parent.parent.parent
SERVER = """
import os, sys, time
from pathlib import Path
from app.settings import Settings
from app.store import Store
from app.workflow import Workflow
from tests.studio.trainer import open_parts
folder, weights, script = sys.argv[1:]
settings = Settings.from_environment(os.environ, data_dir=Path(folder), weights=Path(weights),
                                     device="cpu", threads=1)
store = Store(settings.database)
jobs, again = open_parts(settings, store, Workflow(settings, store))
jobs._command = lambda job: [sys.executable, "-c", script, str(settings.jobs / str(job.id)),
                             weights, str(job.launches)]
jobs.start(1)
time.sleep(600)
"""


def test_a_killed_trainer_is_begun_again_and_its_curve_goes_on(
    studio: Studio, jobs: Jobs, child: Child, weights: Path
) -> None:
    first = "if launch == 1:\n    say('epoch', epoch=0, loss=9.0)\n    " + DIE
    child(first + learned(weights, 0.75))
    job = run(jobs, studio)
    assert (job.state, job.launches) == (JobState.DONE, 2)
    assert [(r["epoch"], r["loss"]) for r in job.progress["curve"]] == [(0, None), (1, 0.25)]
    assert "begun again, attempt 2: the training process was killed" in job.progress["notices"][0]


def test_a_trainer_killed_in_the_middle_of_a_word_is_begun_again(
    studio: Studio, jobs: Jobs, child: Child, weights: Path
) -> None:
    half = "if launch == 1:\n    print('{\"event', end='', flush=True)\n    " + DIE
    child(half + learned(weights, 0.75))
    assert run(jobs, studio).state is JobState.DONE


def test_the_real_command_resumes_from_the_second_launch_on(studio: Studio, jobs: Jobs) -> None:
    params = {"parent_id": model_in_use(studio), "held_out_images": []}
    job = studio.store.add_job(studio.project.id, "fine-tune", params, studio.project.created_at)
    commands = []
    for _ in range(2):
        job = studio.store.launch_job(job.id, params, studio.project.created_at)
        commands.append(Jobs._command(jobs, job))
    assert [("--resume" in command) for command in commands] == [False, True]


def test_a_fine_tune_stays_with_its_parent_on_photos_that_the_probe_does_not_ask_about(
    studio: Studio, jobs: Jobs
) -> None:
    params = {"parent_id": model_in_use(studio), "held_out_images": []}
    job = studio.store.add_job(studio.project.id, "fine-tune", params, studio.project.created_at)
    command = Jobs._command(jobs, studio.store.launch_job(job.id, params, job.created_at))
    photos = [PHOTOS / name for name in REMINDERS]
    start = command.index("--distil") + 1
    assert command[start : start + len(photos)] == list(map(str, photos))
    assert all(min(read_image(path).shape[:2]) > 100 for path in photos)
    probe = coco.read(Settings().probe)
    scenes = {image.file_name.split("_")[0] for image in probe.images}
    assert not {path.name.split("_")[0] for path in photos} & scenes


def test_the_end_of_the_studio_leaves_a_job_that_the_next_one_goes_on_with(
    studio: Studio, jobs: Jobs, child: Child, weights: Path
) -> None:
    child(f"if launch == 1:\n    (folder / 'pid').write_text(str(os.getpid()))\n{indent(WAIT)}"
          + learned(weights, 0.75))  # fmt: skip
    job = begun(jobs, studio)
    pid = int((studio.settings.jobs / str(job.id) / "pid").read_text())
    jobs.close()
    assert studio.store.get_job(job.id).state is JobState.RUNNING
    assert is_gone(pid)
    reopened, again = open_jobs(studio)
    reopened.recover()
    done = ended(studio, job.id)
    assert (done.state, done.launches) == (JobState.DONE, 2)
    reopened.close()
    again.close()


def test_a_job_that_waits_is_begun_by_the_next_studio(
    studio: Studio, jobs: Jobs, child: Child, weights: Path
) -> None:
    child(f"if launch == 1 and folder.name == '1':\n{indent(WAIT)}" + learned(weights, 0.75))
    begun(jobs, studio)
    waiting = jobs.start(studio.project.id)
    jobs.close()
    assert studio.store.get_job(waiting.id).state is JobState.QUEUED
    reopened, again = open_jobs(studio)
    reopened.recover()
    assert ended(studio, waiting.id).state is JobState.DONE
    assert studio.store.get_job(1).state is JobState.DONE
    reopened.close()
    again.close()


def test_a_second_studio_on_the_folder_leaves_the_jobs_to_the_first(
    studio: Studio, jobs: Jobs, child: Child
) -> None:
    child(WAIT)
    job = begun(jobs, studio)
    second, again = open_jobs(studio)
    for act in (second.recover, lambda: second.start(studio.project.id)):
        with pytest.raises(NotAllowed, match="another studio serves this data folder"):
            act()
    second.close()
    again.close()
    assert studio.store.get_job(job.id).state is JobState.RUNNING


def test_a_silent_child_that_lives_gives_signs_of_life(
    studio: Studio, jobs: Jobs, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.children.BEAT_SECONDS", 0.02)
    child(WAIT)
    job = begun(jobs, studio)
    first = studio.store.get_job(job.id).alive_at
    assert first is not None
    wait_for(studio, job.id, lambda job: job.alive_at is not None and job.alive_at > first)


def test_a_child_that_is_silent_for_too_long_fails_its_job(
    studio: Studio, jobs: Jobs, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.children.BEAT_SECONDS", 0.02)
    monkeypatch.setattr("app.children.SILENCE_SECONDS", 0.1)
    child(WAIT)
    job = run(jobs, studio)
    assert job.state is JobState.FAILED
    assert job.error == "the training process gave no sign for 0 seconds"


@pytest.mark.slow
def test_a_killed_studio_takes_its_trainer_along_and_the_next_one_resumes(
    studio: Studio, jobs: Jobs, child: Child, weights: Path
) -> None:
    script = TRAINER + "(folder / 'pid').write_text(str(os.getpid()))\n" + WAIT
    arguments = [str(studio.settings.data_dir), str(studio.settings.weights), script]
    server = subprocess.Popen([sys.executable, "-c", SERVER, *arguments], cwd=ROOT)
    try:
        wait_until(lambda: bool(studio.store.list_jobs(studio.project.id, "fine-tune")))
        job = wait_for(studio, 1, lambda job: job.progress != {})
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    wait_until(lambda: is_gone(int((studio.settings.jobs / "1" / "pid").read_text())))
    assert studio.store.get_job(job.id).state is JobState.RUNNING
    child(learned(weights, 0.75))
    jobs.recover()
    done = ended(studio, job.id)
    assert (done.state, done.launches) == (JobState.DONE, 2)
    assert done.progress["notices"][0] == "begun again, attempt 2: the studio was stopped"


def test_what_kills_the_studio_each_time_is_given_up(studio: Studio, jobs: Jobs) -> None:
    job = studio.store.add_job(studio.project.id, "fine-tune", {}, studio.project.created_at)
    for _ in range(3):
        studio.store.launch_job(job.id, {}, studio.project.created_at)
    jobs.recover()
    closed = ended(studio, job.id)
    assert closed.state is JobState.FAILED
    assert closed.error == "given up after 3 attempts: the studio was stopped while it ran"


@pytest.mark.soak
def test_publishing_under_kills_leaves_no_weights_that_cannot_be_loaded(
    nursery: Nursery, tmp_path: Path, scale: Callable[[int, int], int], tell: Callable[[str], None]
) -> None:
    """The bench itself, with few kills."""
    kills, said = scale(4, 200), tmp_path / "said"
    nursery.begin("bench.kill_publish:main", "--kills", kills, output=said)
    wait_until(lambda: said.exists() and said.read_text().endswith("\n"), seconds=scale(240, 3600))
    found = re.fullmatch(
        rf"{kills} kills: (\d+) models published, (\d+) publications cut short, 0 unloadable\n",
        said.read_text(),
    )
    assert found is not None, said.read_text()
    assert int(found[1]) > 0
    assert int(found[2]) > 0 or kills < 20  # few may all fall beside a publication
    tell(found[0])


def indent(script: str) -> str:
    return "".join(f"    {line}\n" for line in script.strip().splitlines())


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped has."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True
