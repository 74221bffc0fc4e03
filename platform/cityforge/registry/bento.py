"""Builds a Bento from an approved version: the service, the package, the wheel of cityforge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cityforge.errors import ServiceError
from cityforge.project import Project
from cityforge.registry.versions import TAG_PACKAGE, Version, fetch_package

SERVICE_FILES = ("service.py", "bentofile.yaml", "requirements.txt", "README.md")


def bento_home(project: Project) -> Path:
    """Where this project's Bentos lie."""
    return project.work / "bentoml"


def bento_tag(version: Version) -> str:
    """Name and version of the Bento of a model version."""
    return f"{version.algorithm}:v{version.version}-{version.tags[TAG_PACKAGE][:12]}"


def find_bento(project: Project, version: Version) -> Path | None:
    """Folder of the Bento of a model version, where it was built already."""
    name, _, tag = bento_tag(version).partition(":")
    folder = bento_home(project) / "bentos" / name / tag
    return folder if (folder / "bento.yaml").is_file() else None


def build_bento(client: Any, project: Project, version: Version) -> Path:
    """Build a Bento; one that is there already is kept.

    Args:
        version: an approved one; see `approval.approved_version`.

    Returns:
        The Bento's folder.

    Raises:
        ServiceError: BentoML or the wheel's build failed.
    """
    known = find_bento(project, version)
    if known:
        return known
    package, _ = fetch_package(client, project, version)
    with tempfile.TemporaryDirectory(prefix="cityforge-bento-") as scratch:
        context = Path(scratch)
        for name in SERVICE_FILES:
            shutil.copyfile(project.root / "serving" / name, context / name)
        shutil.copytree(package, context / "package")
        approval = {"algorithm": version.algorithm, "version": version.version}
        (context / "approval.json").write_text(
            json.dumps(approval | (version.approval or {}), ensure_ascii=False, indent=1),
            encoding="utf-8",
        )
        wheel = build_wheel(project.root, context)
        _build(project, version, context, wheel)
    built = find_bento(project, version)
    if built is None:
        raise ServiceError("a Bento", found="none", where=str(bento_home(project)))
    return built


def build_wheel(root: Path, out: Path) -> Path:
    """Build the wheel of cityforge into `out`, without a network."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = sorted(out.glob("cityforge-*.whl"))
    if done.returncode != 0 or not wheels:
        raise ServiceError(
            "a wheel of cityforge", found=done.stderr.strip()[-200:], where=str(root)
        )
    return wheels[-1]


def _build(project: Project, version: Version, context: Path, wheel: Path) -> None:
    """Let BentoML build in `context`, in a process of its own: it reads its home at import."""
    from ruamel.yaml import YAML

    bentofile = context / "bentofile.yaml"
    yaml = YAML()
    content = yaml.load(bentofile.read_text(encoding="utf-8"))
    content["python"]["wheels"] = [wheel.name]
    content["labels"] = {"algorithm": version.algorithm, "model_version": str(version.version)}
    with bentofile.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    name, _, tag = bento_tag(version).partition(":")
    bento_home(project).mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--name", name, "--version", tag],
        cwd=context,
        env={**os.environ, "BENTOML_HOME": str(bento_home(project))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ServiceError("a Bento", found=said[-1] if said else "silence", where=str(context))
