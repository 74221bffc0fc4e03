"""Runs the evaluation of a version again, in a clean process, and compares the evidence.

As a script (`python -m cityforge.registry.verify`) it is that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge import errors
from cityforge.errors import CityforgeError, DataError, InputError, ServiceError
from cityforge.inference.package import EVIDENCE_FILE, Package
from cityforge.registry.site import Site
from cityforge.registry.versions import Version, fetch_package, find_version

# All that a clean process knows of this one; CITYFORGE_* are added.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS", "XDG_CONFIG_HOME")
MOST_SHOWN = 30  # differences


@dataclass(frozen=True)
class Verified:
    """What came out of it."""

    algorithm: str
    version: int
    snapshot: str  # digest
    recorded: str  # digest of the evidence that was approved on
    again: str  # of that of now
    same: bool
    differences: list[str]


def verify_version(site: Site, algorithm: str, version: int | None) -> Verified:
    """Judge a version anew from the snapshot that lies here.

    Raises:
        DataError: another snapshot lies here, or none.
        PackageError, TrustError: the package is not what was registered, signed and approved.
        ServiceError: the process ended without an answer.
    """
    found = find_version(site, algorithm, version)
    with tempfile.TemporaryDirectory(prefix="cityforge-verify-") as scratch:
        out = Path(scratch) / "found.json"
        words = [str(site.project.root), algorithm, str(found.version), str(out)]
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__, *words],
            cwd=site.project.root, env=clean_environment(os.environ), stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
        if not out.is_file():
            said = done.stderr.strip().splitlines()
            raise ServiceError("an evaluation that runs again",
                               found=said[-1] if said else f"exit {done.returncode}")  # fmt: skip
        content = json.loads(out.read_text(encoding="utf-8"))
    if "error" in content:
        name = content.pop("error")
        kind = InputError if name == "NameUnknown" else getattr(errors, name)
        raise kind(content.pop("expected"), **content)
    return Verified(**content)


def clean_environment(here: Mapping[str, str]) -> dict[str, str]:
    """What a process of its own may know: where its tools and its services are."""
    kept = {name: value for name, value in here.items() if name.startswith("CITYFORGE_")}
    return kept | {name: here[name] for name in KEPT if name in here}


def judged_again(site: Site, algorithm: str, version: int) -> Verified:
    """The work of the clean process.

    Raises:
        see `verify_version`.
    """
    from cityforge.dataset.digests import digest_of
    from cityforge.evaluation.evidence import read_evidence
    from cityforge.evaluation.judging import judge_again

    found = find_version(site, algorithm, version)
    folder, package = _checked(site, found)
    recorded = read_evidence(folder / EVIDENCE_FILE)
    _refuse_other_data(site, algorithm, recorded.created_from.snapshot_digest, package)
    card = site.project.algorithm(algorithm)
    params = site.project.algorithm_params(algorithm)
    sides = {"input_width": package.about.input_width, "input_height": package.about.input_height}
    params = params.model_copy(update={"data": params.data.model_copy(update=sides)})
    again = judge_again(site.project, card, params, folder, recorded, _champion(site, recorded))
    differences = list(apart(json.loads(recorded.to_json()), json.loads(again.to_json())))
    if differences and digest_of(params.model_dump(mode="json")) != package.about.params_digest:
        differences.append(
            f"parameters here are not those of version {version}: "
            f"check out commit {package.about.git_commit[:12]}"
        )
    more = len(differences) - MOST_SHOWN
    shown = differences[:MOST_SHOWN] + ([f"and {more} more"] if more > 0 else [])
    return Verified(
        algorithm=algorithm,
        version=version,
        snapshot=recorded.created_from.snapshot_digest,
        recorded=recorded.digest(),
        again=again.digest(),
        same=recorded.digest() == again.digest(),
        differences=shown,
    )


def apart(one: Any, other: Any, key: str = "") -> Iterator[str]:
    """Where two parsed JSON texts differ.

    >>> list(apart({"a": {"b": 1.0}, "c": [1]}, {"a": {"b": 2.0}, "c": [1]}))
    ['a.b: 1.0 on record, 2.0 now']
    """
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from apart(one.get(name), other.get(name), f"{key}.{name}".strip("."))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from apart(a, b, f"{key}[{at}]")
    elif one != other:
        yield f"{key}: {_short(one)} on record, {_short(other)} now"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _checked(site: Site, version: Version) -> tuple[Path, Package]:
    from cityforge.trust.release import refuse_release

    chain = site.journal.chain()
    state = version.state
    if state and state.approval:
        refuse_release(state.register, state.approval, chain.keys, site.journal.where)
    return fetch_package(site, version)


def _refuse_other_data(site: Site, algorithm: str, wanted: str, package: Package) -> None:
    path = site.project.build(algorithm) / "split" / "snapshot.json"
    here = str(json.loads(path.read_bytes())["digest"]) if path.is_file() else ""
    if here != wanted:
        raise DataError(
            f"the snapshot {wanted[:12]} that the evidence rests on",
            found=here[:12] or "none", where=str(path.parent),
            do=f"git checkout {package.about.git_commit[:12]}, then dvc pull (or dvc checkout)",
        )  # fmt: skip


def _champion(site: Site, recorded: Any) -> Any:
    """The champion of the time, with its package."""
    from cityforge.evaluation.against import Champion

    if recorded.against is None:
        return None
    found = find_version(site, recorded.algorithm, recorded.against.version)
    return Champion(found.version, fetch_package(site, found)[1])


def main(root: str, algorithm: str, version: str, out: str) -> None:
    """Judge again and write what was found, or the error, into a file."""
    from cityforge.project import Project
    from cityforge.settings import load_settings, stay_offline

    project = Project(Path(root))
    settings = load_settings(project.root)
    stay_offline(settings, os.environ)
    try:
        content = vars(judged_again(Site(project, settings), algorithm, int(version)))
    except CityforgeError as error:
        told = {name: getattr(error, name) for name in ("expected", "found", "where", "do")}
        content = {"error": type(error).__name__, **told}
    beside = Path(out).with_suffix(".new")
    beside.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    beside.replace(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
