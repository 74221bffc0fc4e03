"""Where MLflow keeps runs and versions: SQLite and local files, unless a server is set."""

from __future__ import annotations

import logging
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from cityforge.cards.algorithm import Algorithm
from cityforge.errors import ServiceError
from cityforge.project import Project
from cityforge.provenance import device_name, git_state, lock_digest
from cityforge.settings import Settings

# MLflow's own names: the run that a nested one belongs to, and the commit its pages show.
TAG_PARENT = "mlflow.parentRunId"
TAG_COMMIT = "mlflow.source.git.commit"
# What one call takes (mlflow.utils.validation), and the length of one value.
MOST_PARAMS = 100
LONGEST_PARAM = 6000
Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass
class Run:
    """One run of MLflow, written to while the work goes on.

    A tracking server that fails meanwhile ends no training: what it did not take is counted
    in `lost`, and `why` keeps its first answer.
    """

    client: Any
    run_id: str
    lost: int = 0
    why: str = ""
    stored: dict[str, str] = field(default_factory=dict, repr=False)  # parameters

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Figures at a step (an epoch); what is no finite number is left out."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        rows = [
            Metric(name, float(value), now, step)
            for name, value in metrics.items()
            if math.isfinite(value)
        ]
        self._try(partial(self.client.log_batch, self.run_id, metrics=rows))

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters; nested ones get dotted names. A value once stored stays as it is."""
        from mlflow.entities import Param

        flat = {name: str(value)[:LONGEST_PARAM] for name, value in _flat(values).items()}
        new = [(name, value) for name, value in flat.items() if name not in self.stored]
        for start in range(0, len(new), MOST_PARAMS):
            rows = [Param(*each) for each in new[start : start + MOST_PARAMS]]
            self._try(partial(self.client.log_batch, self.run_id, params=rows))
        self.stored |= dict(new)

    def tags(self, values: Mapping[str, Any]) -> None:
        """Tags; one that is there already is replaced."""
        from mlflow.entities import RunTag

        rows = [RunTag(name, str(value)) for name, value in values.items()]
        self._try(partial(self.client.log_batch, self.run_id, tags=rows))

    def picture(self, name: str, jpeg: bytes) -> None:
        """A file by its path within the run, such as `validation/epoch_003.jpg`."""
        folder, _, file = name.rpartition("/")

        def store() -> None:
            with tempfile.TemporaryDirectory() as beside:
                path = Path(beside) / file
                path.write_bytes(jpeg)
                self.client.log_artifact(self.run_id, str(path), folder or None)

        self._try(store)

    def finish(self, status: Status = "FINISHED") -> None:
        """Close the run; `open_run` with its id opens it again."""
        self._try(partial(self.client.set_terminated, self.run_id, status))

    def complaints(self) -> list[str]:
        """A line where the tracking lost something."""
        return [f"tracking lost {self.lost} entries: {self.why}"] if self.lost else []

    def _try(self, write: Callable[[], Any]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            write()
        except (MlflowException, OSError) as error:
            self.lost += 1
            self.why = self.why or str(error).splitlines()[0]


def open_run(
    project: Project,
    settings: Settings,
    card: Algorithm,
    name: str,
    tags: Mapping[str, Any],
    parent: str | None = None,
    run_id: str | None = None,
) -> Run:
    """A run in the algorithm's experiment, tagged with commit, lock, device and host.

    Args:
        name: what it is called in MLflow's pages, such as `train` or `trial 3`.
        tags: beside those; names get `cityforge.` in front where they have no dot.
        parent: id of the run that it is nested in.
        run_id: of a run that goes on; where it is gone, a new one is made.

    Raises:
        ServiceError: the server does not answer.
    """
    client = tracking_client(project, settings)
    own = {k if "." in k else f"cityforge.{k}": str(v) for k, v in tags.items()}
    everything = {**_origin_tags(project.root), **own} | ({TAG_PARENT: parent} if parent else {})
    known = _run_that_goes_on(client, run_id)
    if known is not None:
        run = Run(client, str(known.info.run_id), stored=dict(known.data.params))
        run.tags(everything)
        return run
    experiment = experiment_id(client, project, settings, card.name)
    made = client.create_run(experiment, tags=everything, run_name=name)
    return Run(client, str(made.info.run_id))


def _run_that_goes_on(client: Any, run_id: str | None) -> Any | None:
    from mlflow.exceptions import MlflowException

    if not run_id:
        return None
    try:
        client.update_run(run_id, status="RUNNING")
        return client.get_run(run_id)
    except MlflowException:  # deleted, or of another server
        return None


def _origin_tags(root: Path) -> dict[str, str]:
    state = git_state(root)
    return {
        TAG_COMMIT: state.commit,
        "cityforge.git_commit": state.commit,
        "cityforge.git_dirty": str(state.dirty).lower(),
        "cityforge.lock_digest": lock_digest(root),
        "cityforge.device": device_name(),
        "cityforge.host": f"{platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}",
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def tracking_uri(project: Project, settings: Settings) -> str:
    """The server's address, or this project's own SQLite file."""
    if settings.tracking_uri:
        return settings.tracking_uri
    project.work.mkdir(exist_ok=True)
    return f"sqlite:///{project.work / 'mlflow.db'}"


def tracking_client(project: Project, settings: Settings) -> Any:
    """An MlflowClient of this project.

    Raises:
        ServiceError: the server does not answer.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    # After the import, which sets a level of its own.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    uri = tracking_uri(project, settings)
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        client.search_experiments(max_results=1)
    except mlflow.exceptions.MlflowException as error:
        raise ServiceError(
            "a tracking server that answers",
            found=str(error).splitlines()[0],
            where=uri,
            do="start it, or clear CITYFORGE_TRACKING_URI to use this project's own file",
        ) from error
    return client


def experiment_id(client: Any, project: Project, settings: Settings, name: str) -> str:
    """The experiment of an algorithm, made when it is missing."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = None if settings.tracking_uri else (project.work / "artifacts").as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another process was first
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
