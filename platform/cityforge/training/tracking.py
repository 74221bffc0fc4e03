"""Where MLflow keeps runs and versions: SQLite and local files, unless a server is set."""

from __future__ import annotations

import logging
import os
from typing import Any

from cityforge.errors import ServiceError
from cityforge.project import Project
from cityforge.settings import Settings


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
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None if settings.tracking_uri else (project.work / "artifacts").as_uri()
    return str(client.create_experiment(name, artifact_location=location))
