"""What registering asks of MLflow and of the disk: signed copies, versions, failures in a line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cityforge.errors import ServiceError
from cityforge.inference.package import open_package
from cityforge.registry.beside import first_cause, folder_beside
from cityforge.registry.site import Site
from cityforge.trust.keys import Signer
from cityforge.trust.signature import SIGNATURE_FILE, sign_package


@contextmanager
def answering(where: str) -> Iterator[None]:
    """MLflow's own failures, and those of the disk, in one line.

    Raises:
        ServiceError: it does not answer, or files could not be written.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise ServiceError(
            "an answer of MLflow",
            found=str(error).strip().splitlines()[0],
            where=where,
            do="run it again when it answers; nothing is half done",
        ) from error
    except OSError as error:
        raise ServiceError(
            "room and a sound disk for a package", found=first_cause(error), where=where,
            do="run it again when there is; nothing is half done",
        ) from error  # fmt: skip


@contextmanager
def signed_copy(
    site: Site, package: Path, digest: str, signer: Signer
) -> Iterator[tuple[Path, str]]:
    """A copy of the package with its signature, and the sha256 of that."""
    with folder_beside(site.project.work / "packages" / "signing") as scratch:
        folder = scratch / "package"
        shutil.copytree(package, folder, ignore=shutil.ignore_patterns(SIGNATURE_FILE))
        open_package(folder, expected_digest=digest)  # what is signed is what was read
        yield folder, sign_package(folder, signer, site.settings)


def mlflow_versions(client: Any, algorithm: str) -> list[Any]:
    """All versions that MLflow has of an algorithm."""
    found: list[Any] = []
    page = None
    while True:
        batch = client.search_model_versions(
            f"name = '{algorithm}'", max_results=1000, page_token=page
        )
        found += batch
        page = batch.token
        if not page:
            return found


def ensure_model(client: Any, algorithm: str) -> None:
    """Make MLflow's model of an algorithm when it has none."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(algorithm)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(algorithm)
