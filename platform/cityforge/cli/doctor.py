"""`cityforge doctor`: what works on this machine, and what to do about what does not."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cityforge.cli.surroundings import Json, open_project, show

if TYPE_CHECKING:
    from cityforge.project import Project
    from cityforge.settings import Settings

LIBRARIES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "timm",
    "mlflow",
    "dvc",
    "optuna",
    "onnx",
    "onnxruntime",
    "bentoml",
    "great-expectations",
    "label-studio-sdk",
    "av",
    "opencv-python-headless",
)
LEAST_DISK_GB = 5.0
LEAST_MEMORY_GB = 4.0

Finding = dict[str, Any]


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check versions, disk, services, accelerator, fonts and the offline switch."""
    project, settings = open_project(context)
    findings = [
        _python(),
        *(_library(name) for name in LIBRARIES),
        _one_opencv(),
        _disk(project),
        _memory(),
        _accelerator(),
        _fonts(),
        _offline(settings),
        _git(),
        _dvc(project),
        _tracking(project, settings),
        _key(settings),
        _journal(project, settings),
        _label_studio(settings),
    ]
    show(findings, as_json)
    failed = [each for each in findings if each["state"] == "fails"]
    if failed:
        raise typer.Exit(1)


def _finding(what: str, state: str, found: str, mend: str = "") -> Finding:
    return {"what": what, "state": state, "found": found, "mend": mend or None}


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return _finding("Python", "works", found)
    return _finding("Python", "fails", found, "use Python 3.11, 3.12 or 3.13")


def _library(name: str) -> Finding:
    try:
        return _finding(name, "works", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return _finding(name, "fails", "not installed", "make setup")


def _one_opencv() -> Finding:
    others = [
        name
        for name in ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
        if _installed(name)
    ]
    if others:
        return _finding("one OpenCV", "fails", f"also {', '.join(others)}", "make clean setup")
    return _finding("one OpenCV", "works", "headless alone")


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _disk(project: Project) -> Finding:
    free = shutil.disk_usage(project.root).free / 1e9
    if free < LEAST_DISK_GB:
        return _finding("disk", "fails", f"{free:.1f} GB free", f"free {LEAST_DISK_GB:g} GB")
    return _finding("disk", "works", f"{free:.1f} GB free")


def _memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available / 1e9
    if free < LEAST_MEMORY_GB:
        return _finding("memory", "fails", f"{free:.1f} GB", "end other programs, or add memory")
    return _finding("memory", "works", f"{free:.1f} GB, {len(os.sched_getaffinity(0))} cores")


def _accelerator() -> Finding:
    import torch

    if torch.cuda.is_available():
        return _finding("accelerator", "works", torch.cuda.get_device_name(0))
    fast = torch.cpu._is_amx_tile_supported()
    kind = "bfloat16 on the processor" if fast else "float32 on the processor"
    return _finding("accelerator", "absent", f"none; training uses {kind}")


def _fonts() -> Finding:
    from cityforge.tasks.fonts import NAMES, find_font

    font = find_font()
    if font is None or font.name == NAMES[-1]:
        return _finding(
            "Chinese text", "absent", "no font draws it", "apt-get install fonts-wqy-zenhei"
        )
    return _finding("Chinese text", "works", font.name)


def _offline(settings: Settings) -> Finding:
    if settings.offline:
        return _finding("offline switch", "works", "on: no telemetry, no update checks")
    return _finding("offline switch", "absent", "off", "unset CITYFORGE_OFFLINE")


def _git() -> Finding:
    found = shutil.which("git")
    if not found:
        return _finding("git", "fails", "not found", "install git")
    return _finding("git", "works", found)


def _dvc(project: Project) -> Finding:
    if (project.root / ".dvc").is_dir():
        return _finding("DVC repository", "works", ".dvc")
    return _finding("DVC repository", "fails", "none", "dvc init")


def _tracking(project: Project, settings: Settings) -> Finding:
    from cityforge.errors import ServiceError
    from cityforge.training.tracking import tracking_client, tracking_uri

    uri = tracking_uri(project, settings)
    shown = uri if settings.tracking_uri else f"sqlite in {Path('.cityforge')}"
    try:
        tracking_client(project, settings)
    except ServiceError as error:
        return _finding("MLflow", "fails", error.found, error.do)
    return _finding("MLflow", "works", shown)


def _key(settings: Settings) -> Finding:
    """Whether this person can act; whether the site trusts the key, the journal says."""
    from cityforge.cli.model import login
    from cityforge.errors import TrustError
    from cityforge.trust.keys import has_key, open_key

    who = settings.user or login()
    if not has_key(settings, who):
        return _finding("key", "absent", f"none of {who}", "cityforge key new")
    try:
        signer = open_key(settings, who)
    except TrustError as error:
        return _finding("key", "fails", error.found, error.do)
    bare = "" if settings.key_passphrase.get_secret_value() else ", not encrypted"
    return _finding("key", "works", f"{signer.key_id} of {who}{bare}")


def _journal(project: Project, settings: Settings) -> Finding:
    from cityforge.errors import CityforgeError
    from cityforge.trust.journal import faults_of, open_journal

    try:
        journal = open_journal(project, settings)
        faults, number = faults_of(journal, settings), journal.head_number()
    except CityforgeError as error:
        return _finding("journal", "fails", error.found, error.do)
    if faults:
        said = f"{len(faults)} faults, the first at entry {faults[0].number}"
        return _finding("journal", "fails", said, "cityforge model audit --verify")
    return _finding("journal", "works", f"{number} entries, each as it was written")


def _label_studio(settings: Settings) -> Finding:
    if not settings.label_studio_url:
        said = "no address set; cityforge label start runs one on this machine"
        return _finding("Label Studio", "absent", said)
    import httpx

    try:
        answer = httpx.get(f"{settings.label_studio_url}/health", timeout=5)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        return _finding(
            "Label Studio",
            "fails",
            str(error)[:80],
            "start it, or correct CITYFORGE_LABEL_STUDIO_URL",
        )
    return _finding("Label Studio", "works", settings.label_studio_url)
