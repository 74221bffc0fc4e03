"""Bars imports that nobody waits for any more from making tasks.

A push that is killed may leave an import with the server, which ends it a moment later; the
tasks that the next push makes in between would then stand twice. Label Studio has no unique
key of ours, but each task may name the upload it came from, a row of its database that must be
there when the import is committed. So every push hands over an upload of its own, and all its
tasks name it. Removing that upload closes the door: what was committed stays, what was not
fails as a whole. Then a listing says for good what is there.
"""

from __future__ import annotations

from typing import Any

from cityforge.errors import ServiceError
from cityforge.labeling.studio.client import Studio

NAME = "cityforge-push.json"
CONTENT = b'[{"image": "of an import under way"}]'


def open_upload(studio: Studio, project_id: int) -> int:
    """Hand over an upload that the tasks of one push name; the uploads of all others are closed.

    Raises:
        NotThere: the project is gone.
        ServiceError: the server keeps no upload.
    """
    answer = studio.upload(
        f"api/projects/{project_id}/import", NAME, CONTENT, commit_to_project="false"
    )
    found = answer.get("file_upload_ids")
    if not found:
        raise ServiceError(
            "Label Studio to keep an upload",
            found="none",
            where=studio.url,
            do="use an edition that imports at once, such as Label Studio Community 1.23",
        )
    mine = int(found[0])
    close_uploads(studio, project_id, but=mine)
    return mine


def close_uploads(studio: Studio, project_id: int, but: int | None = None) -> None:
    """Close the uploads of this account's earlier pushes: their imports end now, or never."""
    rows: list[dict[str, Any]] = studio.get(f"api/projects/{project_id}/file-uploads", all="true")
    for row in rows:
        if row["id"] != but and str(row["file"]).endswith(f"-{NAME}"):
            close_upload(studio, row["id"])


def close_upload(studio: Studio, upload: int) -> None:
    """Close one upload; a server whose database is busy with an import is asked again."""
    studio.remove(f"api/import/file-upload/{upload}")
