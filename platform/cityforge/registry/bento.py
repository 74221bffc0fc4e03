"""Builds a Bento from an approved version: the service, the package, the wheel of cityforge."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cityforge.errors import NotApproved, ServiceError
from cityforge.project import Project
from cityforge.registry.published import release_folder
from cityforge.registry.site import Site
from cityforge.registry.versions import TAG_PACKAGE, Version

CODE = {".py", ".html", ".css", ".js", ".j2"}
SERVICE_FILES = ("service.py", "bentofile.yaml", "requirements.txt", "README.md")


def bento_home(project: Project) -> Path:
    """Where this project's Bentos lie."""
    return project.work / "bentoml"


def bento_tag(version: Version, root: Path) -> str:
    """Name and version of the Bento of a model version: its package, its approval, the code."""
    approval = version.state.approval if version.state else None
    act = f"-{approval.digest()[:8]}" if approval else ""
    package = version.tags[TAG_PACKAGE][:12]
    return f"{version.algorithm}:v{version.version}-{package}{act}-{code_digest(root)[:8]}"


def code_digest(root: Path) -> str:
    """sha256 over the service and the code of cityforge: another code is another Bento.

    Args:
        root: of the project.
    """
    digest = hashlib.sha256()
    files = [each for name in SERVICE_FILES if (each := root / "serving" / name).is_file()]
    files += sorted(each for each in (root / "platform").rglob("*") if each.suffix in CODE)
    for each in files:
        digest.update(each.relative_to(root).as_posix().encode())
        digest.update(hashlib.sha256(each.read_bytes()).digest())
    return digest.hexdigest()


def find_bento(project: Project, version: Version) -> Path | None:
    """Folder of the Bento of a model version, where it was built already."""
    name, _, tag = bento_tag(version, project.root).partition(":")
    folder = bento_home(project) / "bentos" / name / tag
    return folder if (folder / "bento.yaml").is_file() else None


def build_bento(site: Site, version: Version) -> Path:
    """Build a Bento of a release that was checked; one that is there already is kept.

    Args:
        version: an approved one; see `approval.approved_version`.

    Returns:
        The Bento's folder.

    Raises:
        ServiceError: BentoML or the wheel's build failed.
        NotApproved, PackageError, TrustError: it may not be served; see `release_folder`.
    """
    if version.state is None:
        raise NotApproved("a version on record", found="none", where=site.journal.where)
    release = release_folder(site, version.state)
    project = site.project
    known = find_bento(project, version)
    if known:
        return known
    return make_bento(project.root, release, version, bento_home(project))


def make_bento(root: Path, release: Path, version: Version, home: Path) -> Path:
    """Build a Bento below a home of BentoML; its folder.

    Args:
        root: of the project, whose service and wheel go in.
        release: folder with package/ and release.json.

    Raises:
        ServiceError: BentoML or the wheel's build failed.
    """
    with tempfile.TemporaryDirectory(prefix="cityforge-bento-") as scratch:
        context = Path(scratch)
        for name in SERVICE_FILES:
            shutil.copyfile(root / "serving" / name, context / name)
        shutil.copytree(release, context, dirs_exist_ok=True)
        wheel = build_wheel(root, context)
        name, _, tag = bento_tag(version, root).partition(":")
        _build(home, version, (name, tag), context, wheel)
    built = home / "bentos" / name / tag
    if not (built / "bento.yaml").is_file():
        raise ServiceError("a Bento", found="none", where=str(home))
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


def _build(home: Path, version: Version, tag: tuple[str, str], context: Path, wheel: Path) -> None:
    """Let BentoML build in `context`, in a process of its own: it reads its home at import."""
    from ruamel.yaml import YAML

    bentofile = context / "bentofile.yaml"
    yaml = YAML()
    content = yaml.load(bentofile.read_text(encoding="utf-8"))
    content["python"]["wheels"] = [wheel.name]
    content["labels"] = {"algorithm": version.algorithm, "model_version": str(version.version)}
    with bentofile.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    home.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--name", tag[0], "--version", tag[1]],
        cwd=context,
        env={**os.environ, "BENTOML_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ServiceError("a Bento", found=said[-1] if said else "silence", where=str(context))
