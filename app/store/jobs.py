"""Jobs: long work, as the database remembers it over a restart."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select, update

from app import schema
from app.records import Job, JobState
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
        rest = {"params": params, "progress": {}, "result": {}, "error": "", "created_at": now}
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

    def list_jobs(self, project_id: int) -> list[Job]:
        """A project's jobs, newest first.

        Raises:
            NotFound: there is no such project.
        """
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
        return self._list(schema.job.c.project_id == project_id)

    def running_jobs(self) -> list[Job]:
        """Jobs of all projects that have not ended, newest first."""
        return self._list(schema.job.c.state.in_([str(JobState.QUEUED), str(JobState.RUNNING)]))

    def set_job(
        self,
        job_id: int,
        *,
        state: JobState | None = None,
        progress: Mapping[str, Any] | None = None,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        ended_at: datetime | None = None,
    ) -> Job:
        """Change what is given, and leave the rest.

        Raises:
            NotFound: there is no such job.
            NotAllowed: the job has ended, or would step backwards.
        """
        given = {"progress": progress, "result": result, "error": error, "ended_at": ended_at}
        values = {name: value for name, value in given.items() if value is not None}
        with self._write() as connection:
            old = JobState(fetch(connection, schema.job, job_id).state)
            check_job_transition(old, state or old)
            change = update(schema.job).where(schema.job.c.id == job_id)
            connection.execute(change.values(state=str(state or old), **values))
            return row_to_job(fetch(connection, schema.job, job_id))

    def _list(self, condition: ColumnElement[bool]) -> list[Job]:
        query = select(schema.job).where(condition).order_by(schema.job.c.id.desc())
        with self._read() as connection:
            return [row_to_job(row) for row in connection.execute(query)]
