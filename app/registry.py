"""The models of a project: use one, go back, take notes, remove the weights of one."""

from pathlib import Path

from app.again import Again
from app.errors import NotAllowed, NotFound
from app.jobs import KIND
from app.records import ModelState, ModelVersion
from app.store import Store
from app.workflow import Workflow


class Registry:
    """What a person may do with model versions."""

    def __init__(self, store: Store, workflow: Workflow, again: Again) -> None:
        self._store = store
        self._workflow = workflow
        self._again = again

    def use(self, project_id: int, model_id: int) -> ModelVersion:
        """Let another model propose from now on; untouched proposals follow in the background.

        Raises:
            NotFound: there is no such project or model, or its weights are gone.
            NotAllowed: the model is another project's, or did not pass.
            CheckpointError: its weights cannot be read.
        """
        model = self._store.get_model(model_id)
        if not self.has_weights(model):
            raise NotFound(f"the weights of {model.name!r} were removed; choose another model")
        self._workflow.adopt(model.sha256, model.name)
        self._store.use_model(project_id, model_id)
        self._again.start(project_id)
        return model

    def roll_back(self, project_id: int) -> ModelVersion:
        """Go back to the model that the one in use was made from.

        Raises:
            NotAllowed: the model in use was made from none.
            NotFound: its weights are gone.
        """
        in_use = self._workflow.model_in_use(project_id)
        if in_use.parent_id is None:
            raise NotAllowed(f"there is nothing to go back to: {in_use.name!r} has no parent")
        return self.use(project_id, in_use.parent_id)

    def remove(self, project_id: int, model_id: int) -> ModelVersion:
        """Remove a model's weights for good; its row with figures and notes stays.

        Raises:
            NotFound: there is no such model.
            NotAllowed: it is in use, somebody's way back, a running job's start, or bundled.
        """
        with self._store.transaction():  # nobody puts it in use meanwhile
            model = self._store.get_model(model_id)
            self._check_removable(project_id, model)
            self.path_of(model).unlink(missing_ok=True)
        return model

    def has_weights(self, model: ModelVersion) -> bool:
        """Whether its weights are still there."""
        return self.path_of(model).exists()

    def path_of(self, model: ModelVersion) -> Path:
        """Where its weights lie, or lay."""
        return self._workflow.weights_path(model)

    def _check_removable(self, project_id: int, model: ModelVersion) -> None:
        if model.state is ModelState.BUNDLED or model.project_id != project_id:
            raise NotAllowed(f"model {model.name!r} is not this project's own: it stays")
        if self._store.users_of_model(model.id):
            raise NotAllowed(f"model {model.name!r} is in use: use another one first")
        if model.state is ModelState.UNDECIDED:
            raise NotAllowed(f"model {model.name!r} waits for your word: give it first")
        if self._workflow.model_in_use(project_id).parent_id == model.id:
            raise NotAllowed(f"model {model.name!r} is the way back from the one in use: it stays")
        if any(job.params.get("parent_id") == model.id for job in self._store.open_jobs(KIND)):
            raise NotAllowed(f"a fine-tune starts from model {model.name!r}: wait for its end")
