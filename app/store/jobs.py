"""Jobs: long work, as the database remembers it over a restart."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from app import schema
from app.errors import NotAllowed
from app.records import OPEN, Job, JobState, Wish
from app.session import check_job_transition
from app.store.database import Database, fetch
from app.store.rows import row_to_job


class Jobs(Database):
    """What the store knows of jobs."""

    def add_job(self, project_id: int, kind: str, params: Mapping[str, Any], now: datetime) -> Job:
        """Queue a job.

        Raises:
            NotFound: there is no such project.
        """
        values = {"project_id": project_id, "kind": kind, "state": str(JobState.QUEUED)}
        rest = {"params": params, "progress": {}, "result": {}, "error": "", "launches": 0}
        rest |= {"created_at": now}
        with self._write() as connection:
            fetch(connection, schema.project, project_id)
            insert = schema.job.insert().returning(schema.job)
            return row_to_job(connection.execute(insert, values | rest).one())

    def get_job(self, job_id: int) -> Job:
        """One job.

        Raises:
            NotFound: there is none with this id.
        """
        with self._read() as connection:
            return row_to_job(fetch(connection, schema.job, job_id))

    def list_jobs(self, project_id: int, kind: str) -> list[Job]:
        """A project's jobs of a kind, newest first.

        Raises:
            NotFound: there is no such project.
        """
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
        return self._list(schema.job.c.project_id == project_id, schema.job.c.kind == kind)

    def open_jobs(self, kind: str) -> list[Job]:
        """Jobs of a kind that have not ended, of all projects, newest first."""
        is_open = schema.job.c.state.in_([str(JobState.QUEUED), str(JobState.RUNNING)])
        return self._list(is_open, schema.job.c.kind == kind)

    def count_jobs(self) -> dict[str, int]:
        """How many jobs of all projects stand in each state."""
        query = select(schema.job.c.state, func.count()).group_by(schema.job.c.state)
        with self._read() as connection:
            found = {row[0]: int(row[1]) for row in connection.execute(query)}
        return {str(state): found.get(str(state), 0) for state in JobState}

    def launch_job(self, job_id: int, params: Mapping[str, Any], now: datetime) -> Job:
        """Record that a job begins, or begins again.

        Args:
            job_id: the job.
            params: all of them, as they stand now.
            now: the time.

        Raises:
            NotFound: there is no such job.
            NotAllowed: it has ended.
        """
        table = schema.job
        values = {"state": str(JobState.RUNNING), "params": params, "alive_at": now}
        with self._write() as connection:
            check_job_transition(JobState(fetch(connection, table, job_id).state), JobState.RUNNING)
            change = update(table).where(table.c.id == job_id)
            connection.execute(change.values(launches=table.c.launches + 1, **values))
            return row_to_job(fetch(connection, table, job_id))

    def wish_job(self, job_id: int, wish: Wish) -> Job:
        """Record what a person wants of a job, among its parameters.

        Raises:
            NotFound: there is no such job.
            NotAllowed: it has ended, or a stop was wished for already.
        """
        table = schema.job
        with self._write() as connection:
            job = row_to_job(fetch(connection, table, job_id))
            if job.state not in OPEN or job.wish is Wish.STOP:
                raise NotAllowed("this job has ended, or is being stopped already")
            params = {**job.params, "wish": str(wish)}
            change = update(table).where(table.c.id == job_id)
            return row_to_job(
                connection.execute(change.values(params=params).returning(table)).one()
            )

    def beat_job(self, job_id: int, now: datetime) -> None:
        """Record a sign of life."""
        change = update(schema.job).where(schema.job.c.id == job_id)
        with self._write() as connection:
            connection.execute(change.values(alive_at=now))

    def set_job(
        self,
        job_id: int,
        *,
        state: JobState | None = None,
        progress: Mapping[str, Any] | None = None,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        launches: int | None = None,
        ended_at: datetime | None = None,
    ) -> Job:
        """Change what is given, and leave the rest.

        Raises:
            NotFound: there is no such job.
            NotAllowed: the job has ended, or would step backwards.
        """
        given: dict[str, Any] = {"progress": progress, "result": result, "error": error}
        given |= {"launches": launches, "ended_at": ended_at}
        values = {name: value for name, value in given.items() if value is not None}
        with self._write() as connection:
            old = JobState(fetch(connection, schema.job, job_id).state)
            check_job_transition(old, state or old)
            change = update(schema.job).where(schema.job.c.id == job_id)
            connection.execute(change.values(state=str(state or old), **values))
            job = row_to_job(fetch(connection, schema.job, job_id))
            if old in OPEN and job.state not in OPEN and ended_at is not None:
                _note_end(connection, job, ended_at)
            return job

    def _list(self, *conditions: ColumnElement[bool]) -> list[Job]:
        query = select(schema.job).where(*conditions).order_by(schema.job.c.id.desc())
        with self._read() as connection:
            return [row_to_job(row) for row in connection.execute(query)]


def _note_end(connection: Connection, job: Job, now: datetime) -> None:
    """Write into the audit log how a job ended, in nobody's name."""
    values = {"at": now, "person": "", "act": f"job.{job.state}", "project_id": job.project_id}
    detail = {"error": job.error} if job.error else {}
    values |= {"subject": f"{job.kind} {job.id}", "detail": detail}
    connection.execute(schema.audit.insert(), values)
