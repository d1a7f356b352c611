"""Model versions, and which of them proposes a project's masks."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from app import schema
from app.errors import NotAllowed
from app.records import ModelState, ModelVersion, NewModel, Project
from app.store.database import Database, fetch
from app.store.rows import row_to_model, row_to_project
from mal_core.errors import InputError

_NOTES_MAX = 2000


class Models(Database):
    """What the store knows of checkpoints."""

    def add_model(self, model: NewModel, state: ModelState, now: datetime) -> ModelVersion:
        """Make a checkpoint known, or return the one of the same content.

        Raises:
            NotFound: its project, parent or job does not exist.
            NotAllowed: another project has a checkpoint of the same content.
        """
        with self._write() as connection:
            return row_to_model(_add(connection, model, state, now))

    def get_model(self, model_id: int) -> ModelVersion:
        """One model version.

        Raises:
            NotFound: there is none with this id.
        """
        with self._read() as connection:
            return row_to_model(fetch(connection, schema.model_version, model_id))

    def list_models(self, project_id: int) -> list[ModelVersion]:
        """The model versions a project can see: the bundled ones and its own, oldest first.

        Raises:
            NotFound: there is no such project.
        """
        owner = schema.model_version.c.project_id
        visible = or_(owner.is_(None), owner == project_id)
        query = select(schema.model_version).where(visible).order_by(schema.model_version.c.id)
        with self._read() as connection:
            fetch(connection, schema.project, project_id)
            return [row_to_model(row) for row in connection.execute(query)]

    def list_all_models(self) -> list[ModelVersion]:
        """The model versions of all projects, oldest first."""
        query = select(schema.model_version).order_by(schema.model_version.c.id)
        with self._read() as connection:
            return [row_to_model(row) for row in connection.execute(query)]

    def use_model(self, project_id: int, model_id: int) -> Project:
        """Let this model propose the project's masks from now on.

        Raises:
            NotFound: there is no such project or model.
            NotAllowed: the model belongs to another project, or was rejected.
        """
        with self._write() as connection:
            return _use(connection, project_id, fetch(connection, schema.model_version, model_id))

    def publish(self, model: NewModel, state: ModelState, now: datetime) -> ModelVersion:
        """Make a trained checkpoint known and, if it passed the gate, use it, in one step.

        Args:
            model: the checkpoint; its project_id must be set.
            state: what the gate said; promoted weights are used if their parent still is the
                model in use.
            now: the time.

        Raises:
            NotFound: its project, parent or job does not exist.
            NotAllowed: another project has a checkpoint of the same content.
        """
        if model.project_id is None:
            raise ValueError("only a checkpoint trained for a project can be published")
        with self._write() as connection:
            row = _judge_anew(connection, _add(connection, model, state, now), model, state)
            project = fetch(connection, schema.project, model.project_id)
            if state is ModelState.PROMOTED and project.model_id == model.parent_id:
                _use(connection, model.project_id, row)
            return row_to_model(row)

    def decide_model(self, model_id: int, state: ModelState) -> ModelVersion:
        """Record a person's word on weights that the gate could not judge; use promoted ones.

        Raises:
            NotFound: there is no such model.
            NotAllowed: it does not wait for a word.
        """
        table = schema.model_version
        with self._write() as connection:
            row = fetch(connection, table, model_id)
            if row.state != ModelState.UNDECIDED:
                raise NotAllowed(f"model {row.name!r} is {row.state}: there is nothing to decide")
            change = update(table).where(table.c.id == model_id).values(state=str(state))
            connection.execute(change)
            row = fetch(connection, table, model_id)
            if state is ModelState.PROMOTED:
                _use(connection, row.project_id, row)
            return row_to_model(row)

    def note_model(self, model_id: int, notes: str) -> ModelVersion:
        """Keep a person's own words about a model.

        Raises:
            NotFound: there is no such model.
            InputError: the words are too many.
        """
        if len(notes) > _NOTES_MAX:
            raise InputError(f"notes may hold {_NOTES_MAX} characters, got {len(notes)}")
        table = schema.model_version
        with self._write() as connection:
            fetch(connection, table, model_id)
            connection.execute(update(table).where(table.c.id == model_id).values(notes=notes))
            return row_to_model(fetch(connection, table, model_id))

    def users_of_model(self, model_id: int) -> list[Project]:
        """The projects whose masks this model proposes, oldest first."""
        query = select(schema.project).where(schema.project.c.model_id == model_id)
        with self._read() as connection:
            return [row_to_project(r) for r in connection.execute(query.order_by("id"))]


def check_usable(model: Row[Any], project_id: int | None) -> None:
    """Refuse a model that may not propose a project's masks.

    Raises:
        NotAllowed: it belongs to another project, or did not pass the gate.
    """
    if model.project_id not in (None, project_id):
        raise NotAllowed(f"model {model.name!r} belongs to another project")
    if model.state == ModelState.REJECTED:
        raise NotAllowed(f"model {model.name!r} was rejected and cannot be used")
    if model.state == ModelState.UNDECIDED:
        raise NotAllowed(f"model {model.name!r} waits for your word: use it, or keep the old one")


def _add(connection: Connection, model: NewModel, state: ModelState, now: datetime) -> Row[Any]:
    table = schema.model_version
    known = connection.execute(select(table).where(table.c.sha256 == model.sha256)).one_or_none()
    if known is not None:
        if known.project_id not in (None, model.project_id):
            raise NotAllowed(f"another project has these weights already, as {known.name!r}")
        return known
    for owner, key in (
        (schema.project, model.project_id),
        (schema.model_version, model.parent_id),
        (schema.job, model.job_id),
    ):
        if key is not None:
            fetch(connection, owner, key)
    values = vars(model) | {"state": str(state), "notes": "", "created_at": now}
    return connection.execute(table.insert().returning(table), values).one()


def _judge_anew(
    connection: Connection, row: Row[Any], model: NewModel, state: ModelState
) -> Row[Any]:
    """Let the newest verdict stand for weights that came out a second time and did not pass."""
    if row.state not in (ModelState.REJECTED, ModelState.UNDECIDED):
        return row
    table = schema.model_version
    values = {"state": str(state), "figures": model.figures, "job_id": model.job_id}
    connection.execute(update(table).where(table.c.id == row.id).values(**values))
    return fetch(connection, table, row.id)


def _use(connection: Connection, project_id: int, model: Row[Any]) -> Project:
    fetch(connection, schema.project, project_id)
    check_usable(model, project_id)
    change = update(schema.project).where(schema.project.c.id == project_id)
    connection.execute(change.values(model_id=model.id))
    return row_to_project(fetch(connection, schema.project, project_id))
