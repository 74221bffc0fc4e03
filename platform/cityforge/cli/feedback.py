"""`cityforge feedback`: what people said of the answers of an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from cityforge.cli.surroundings import AlgorithmName, Json, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.endpoint.feedback import FeedbackRow
    from cityforge.project import Project

app = typer.Typer(help="What people said of answers.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """What people said of answers."""


@app.command()
def status(context: typer.Context, algorithm: AlgorithmName, as_json: Json = False) -> None:
    """Say how much feedback there is, and how often each version was right."""
    from cityforge.endpoint.feedback import FILE, FeedbackStore

    project, _ = open_project(context)
    project.algorithm(algorithm)
    folder = project.work / "feedback"
    rows = FeedbackStore(folder).rows(algorithm)
    versions = by_version(rows, _versions_here(project, algorithm))
    found = {
        "algorithm": algorithm,
        "feedback": len(rows),
        "newest": rows[-1].at if rows else None,
        "where": str(folder / FILE),
        "versions": versions,
    }
    if as_json:
        show_json(found)
        return
    if not rows:
        typer.echo(f"no feedback on '{algorithm}' yet")
        return
    show(versions, False)
    typer.echo(f"{len(rows)} in all, the newest of {found['newest']}, in {found['where']}")


def by_version(rows: Sequence[FeedbackRow], known: dict[str, int]) -> list[dict[str, Any]]:
    """Count right and wrong of each version; the newest version first, unknown ones last.

    Args:
        known: version of a package, by the first signs of its digest.
    """
    from cityforge.inference.request_ids import PREFIX

    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        version = row.version or known.get(row.request_id[:PREFIX], 0)
        counts = found.setdefault(
            version,
            {"version": version or "unknown", "right": 0, "wrong": 0, "corrected": 0, "newest": ""},
        )
        counts["right" if row.right else "wrong"] += 1
        counts["corrected"] += row.boxes is not None
        counts["newest"] = max(counts["newest"], row.at)
    return [found[version] for version in sorted(found, reverse=True)]


def _versions_here(project: Project, algorithm: str) -> dict[str, int]:
    """Versions that this machine has served, by the first signs of their package's digest."""
    import json

    from cityforge.inference.request_ids import PREFIX

    found = {}
    for path in (project.work / "serving" / algorithm).glob("v*/release.json"):
        body = json.loads(path.read_text(encoding="utf-8"))["register"]["body"]
        found[body["package_digest"][:PREFIX]] = int(body["version"])
    return found
