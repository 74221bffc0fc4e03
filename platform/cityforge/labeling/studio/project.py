"""The project of a dataset in Label Studio: made from the card, found again, kept as the card says.

A line in its description says whose it is. Its pictures are served from `<files>/<dataset>`, to
those who may see a project with a Local Files storage above them; the storage has a filter that
nothing passes, so that "Sync" in the page never makes tasks of files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cityforge.cards.dataset import Dataset
from cityforge.errors import CardError, ServiceError
from cityforge.labeling.ontology import check_changes
from cityforge.labeling.studio.client import NotThere, Studio
from cityforge.labeling.studio.interface import (
    CONTROLS,
    instructions,
    interface,
    offered_classes,
)

TITLE = (3, 50)  # characters that Label Studio takes
PAGE = 100
PASSES_NOTHING = "(?!)"
CONTROLLESS = ("relation", "pairwise")  # results that name no control
EXACT_UP_TO = 1000  # annotations; more take Label Studio 5 ms and more each to export

Uses = Mapping[tuple[str, str], int]  # (control, class or "") to regions that name them


@dataclass(frozen=True)
class StudioProject:
    """One project on the server."""

    id: int
    title: str
    url: str  # its page of tasks
    changed: tuple[str, ...] = field(default=(), compare=False)  # what this sync had to mend


def marker(dataset: str) -> str:
    """The line of a project's description that says whose it is."""
    return f"cityforge dataset {dataset}"


def find_project(studio: Studio, card: Dataset) -> StudioProject | None:
    """The project of a dataset, by the line in its description.

    Raises:
        ServiceError: several projects say that they are the dataset's.
    """
    rows = [row for row in _projects(studio) if marker(card.name) in _lines(row)]
    if len(rows) > 1:
        raise ServiceError(
            f"one project with the line '{marker(card.name)}' in its description",
            found=f"projects {', '.join(str(row['id']) for row in rows)}",
            where=studio.url,
            do="take the line out of all but the one that holds the annotations",
        )
    return _project(studio, rows[0]) if rows else None


def sync_project(
    studio: Studio, card: Dataset, files: Path, known: StudioProject | None = None
) -> StudioProject:
    """Make the dataset's project, or bring it to what the card says; the same call mends it.

    Args:
        files: folder that the server serves; see `server.access`.
        known: the project that annotations were pulled from before.

    Raises:
        CardError: annotations or drafts would lose their class or their control.
        NotThere: the project that annotations were pulled from is gone.
    """
    check_changes(card)
    row = _row(studio, card, known)
    if row is None:
        new = _wanted(card, []) | {"description": marker(card.name)}
        row = studio.make("api/projects", new)
        changed = [f"project {row['id']} made"]
    else:
        changed = _update(studio, card, row)
    changed += _attach(studio, card, int(row["id"]), files)
    found = _project(studio, row | {"title": _title(card)})
    return StudioProject(found.id, found.title, found.url, tuple(changed))


def count_uses(studio: Studio, project_id: int) -> Counter[tuple[str, str]]:
    """Regions of all annotations and drafts, by control and class, from a full export.

    Label Studio's own counts do not tell: they skip what was imported, and start again at each
    region of a control that is new to them.
    """
    import ijson

    counts: Counter[tuple[str, str]] = Counter()
    path = f"api/projects/{project_id}/export"
    with studio.stream(path, exportType="JSON", download_all_tasks="true") as pieces:
        try:
            for task in ijson.items(ijson.from_iter(pieces), "item"):
                for each in [*task.get("annotations", ()), *task.get("drafts", ())]:
                    counts.update(_uses(each.get("result") or ()))
        except ijson.JSONError as error:
            raise ServiceError(
                "a whole export", found=str(error), where=f"{studio.url}/{path}", do="run it again"
            ) from error
    return counts


def _row(studio: Studio, card: Dataset, known: StudioProject | None) -> dict[str, Any] | None:
    """The project in full; None where it is to be made."""
    found = find_project(studio, card)
    wanted = known or found
    if wanted is None:
        return None
    try:
        row: dict[str, Any] = studio.get(f"api/projects/{wanted.id}")
    except NotThere as error:
        also = f"; project {found.id} says it is the dataset's" if found else ""
        raise NotThere(
            f"project {wanted.id}, from which annotations of '{card.name}' were pulled",
            found=f"none{also}",
            where=studio.url,
            do="restore it from the server's backup, or move labels/annotations.parquet "
            "elsewhere to begin anew",
        ) from error
    if found and known and found.id != known.id:
        raise ServiceError(
            f"project {known.id}, from which annotations were pulled, to be '{card.name}'s",
            found=f"project {found.id} with the line '{marker(card.name)}'",
            where=studio.url,
            do=f"take the line out of the description of project {found.id}",
        )
    return row


def _update(studio: Studio, card: Dataset, row: Mapping[str, Any]) -> list[str]:
    wanted = _wanted(card, _kept(studio, card, row))
    if marker(card.name) not in _lines(row):
        wanted["description"] = "\n".join([*_lines(row), marker(card.name)]).strip()
    differing = {key: value for key, value in wanted.items() if row.get(key) != value}
    if differing:
        studio.change(f"api/projects/{row['id']}", differing)
    return [_said(key, row.get(key), value) for key, value in differing.items()]


def _wanted(card: Dataset, kept: Sequence[str]) -> dict[str, Any]:
    """What the server must say of the project, in its own terms."""
    return {
        "title": _title(card),
        "label_config": interface(card, kept),
        "expert_instruction": instructions(card, kept),
        "show_instruction": True,
        "maximum_annotations": card.labeling.annotators,
        "overlap_cohort_percentage": 100,
        "sampling": "Sequential sampling",
        "show_skip_button": True,
        "skip_queue": "REQUEUE_FOR_OTHERS",  # what one cannot decide another may
        "enable_empty_annotation": True,  # nothing there is an answer
        "show_collab_predictions": True,
        "evaluate_predictions_automatically": False,
        "reveal_preannotations_interactively": False,
        "show_ground_truth_first": False,  # gold tasks stay hidden
    }


def _kept(studio: Studio, card: Dataset, row: Mapping[str, Any]) -> list[str]:
    """Old classes that stay in the page, because annotations or drafts use them.

    In a large project Label Studio's own count is enough to keep one, never to take it out.
    """
    known, shown = set(card.class_names), offered_classes(str(row["label_config"]))
    old = [name for change in card.ontology_changes for name in change.old if name not in known]
    old = list(dict.fromkeys(old))
    gone = {name for names in shown.values() for name in names} - known
    lost = set(shown) - set(offered_classes(interface(card)))  # controls
    named = _named(studio, row) if old else set()
    if not lost and not gone | (named & set(old)):
        return []
    small = int(row["total_annotations_number"] or 0) <= EXACT_UP_TO
    if not lost and not small and gone <= named & set(old):
        return [name for name in old if name in named]
    uses = count_uses(studio, int(row["id"]))
    used = _by_class(uses)
    faults = _faults(card, int(row["id"]), _by_control(uses), lost, used, gone - set(old))
    if faults:
        raise CardError("a card that fits the annotations", faults=tuple(faults))
    return [name for name in old if used[name]]


def _faults(
    card: Dataset,
    project_id: int,
    of_control: Counter[str],
    lost: set[str],
    used: Counter[str],
    gone: set[str],
) -> list[str]:
    """A line for each control and each class that regions would lose."""
    kind = card.labeling.kind
    faults = [
        f"expected control '{control}', which {of_control[control]} regions of annotations and "
        f"drafts use, found labeling.kind '{kind}', which has '{CONTROLS[kind].name}', "
        f"in project {project_id}: keep the kind, or label in another dataset"
        for control in sorted(lost)
        if of_control[control]
    ]
    return faults + [
        f"expected class '{name}', which {used[name]} regions of annotations and drafts use, "
        f"found none, in card of dataset '{card.name}' (project {project_id}): keep it, or say "
        "under 'ontology_changes' what became of it"
        for name in sorted(gone)
        if used[name]
    ]


def _named(studio: Studio, row: Mapping[str, Any]) -> set[str]:
    """Classes that are in use by Label Studio's own count, which misses some."""
    about = studio.get(f"api/projects/{row['id']}/summary/")
    parts = [about["created_labels"] or {}, about["created_labels_drafts"] or {}]
    return {name for part in parts for names in part.values() for name in names}


def _uses(result: Sequence[Any]) -> list[tuple[str, str]]:
    """Control and class of each region; one that names no class has ""."""
    found: list[tuple[str, str]] = []
    for region in result:
        if not isinstance(region, dict) or region.get("type") in (None, *CONTROLLESS):
            continue
        control, kind = str(region.get("from_name")), str(region["type"])
        value = region.get("value") or {}
        names = value.get("labels" if kind == "videorectangle" else kind) or [""]
        found += [(control, str(name)) for name in (names if isinstance(names, list) else [""])]
    return found


def _by_control(uses: Uses) -> Counter[str]:
    counts = Counter[str]()
    for (control, _), count in uses.items():
        counts[control] += count
    return counts


def _by_class(uses: Uses) -> Counter[str]:
    counts = Counter[str]()
    for (_, name), count in uses.items():
        counts[name] += count
    return counts


def _attach(studio: Studio, card: Dataset, project_id: int, files: Path) -> list[str]:
    """Let the server give out the pictures of the dataset to those who may see the project."""
    folder = (files / card.name).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {
        "path": str(folder), "title": marker(card.name), "regex_filter": PASSES_NOTHING,
        "use_blob_urls": False,
    }  # fmt: skip
    rows = studio.get("api/storages/localfiles", project=project_id)
    ours = [row for row in rows if row["title"] == marker(card.name)]
    if not ours:
        studio.make("api/storages/localfiles", wanted | {"project": project_id})
        return [f"storage {folder} attached"]
    if all(ours[0].get(key) == value for key, value in wanted.items()):
        return []
    studio.change(f"api/storages/localfiles/{ours[0]['id']}", wanted | {"project": project_id})
    return [f"storage {ours[0]['path']} is now {folder}"]


def _projects(studio: Studio) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    page = 1
    while True:
        part = studio.get("api/projects", page=page, page_size=PAGE, include="id,title,description")
        rows += part["results"]
        if not part["next"]:
            return rows
        page += 1


def _project(studio: Studio, row: Mapping[str, Any]) -> StudioProject:
    key = int(row["id"])
    return StudioProject(key, str(row["title"]), f"{studio.url}/projects/{key}/data")


def _lines(row: Mapping[str, Any]) -> list[str]:
    return [line.strip() for line in str(row.get("description") or "").splitlines()]


def _title(card: Dataset) -> str:
    title = card.title.strip()
    if len(title) < TITLE[0]:
        title = f"{title} · {card.name}".strip(" ·")
    return title[: TITLE[1]].strip()


def _said(key: str, before: object, after: object) -> str:
    """One line on what was mended."""
    if key == "label_config":
        return f"labelling page: {_differing(str(before or ''), str(after))}"
    if key == "expert_instruction":
        return "instructions"
    return f"{key}: {before!r} is now {after!r}"


def _differing(before: str, after: str) -> str:
    was, now = offered_classes(before), offered_classes(after)
    old = {name for names in was.values() for name in names}
    new = {name for names in now.values() for name in names}
    parts = [
        f"{word} {', '.join(map(repr, sorted(names)))}"
        for word, names in (
            ("controls added", set(now) - set(was)),
            ("controls taken out", set(was) - set(now)),
            ("classes added", new - old),
            ("classes taken out", old - new),
        )
        if names
    ]
    return "; ".join(parts) or "order, colours, keys, hints or settings"
