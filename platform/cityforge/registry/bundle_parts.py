"""What lies in a bundle beside the release: pictures, the report, the Bento's own files."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from cityforge.dataset.digests import digest_of_file
from cityforge.dataset.lineage import (
    FRAMES_FILE,
    SPLIT_KEY,
    lineage_root,
    snapshot_folder,
    split_path,
)
from cityforge.errors import CityforgeError, DataError, RegistryError
from cityforge.footage.shards import FrameStore
from cityforge.footage.stored import lawful_frames
from cityforge.inference.package import About
from cityforge.registry.bento import make_bento
from cityforge.registry.beside import first_cause
from cityforge.registry.registering import OLD_REPORTS, REPORT, report_place
from cityforge.registry.site import Site
from cityforge.registry.standing import State
from cityforge.registry.versions import Version

DRAWN = 4  # pictures, where none are stored
NOISE = 12  # grey levels
Pictures = list[tuple[str, str | None, bytes]]  # file name, frame id, content


@dataclass(frozen=True)
class Chosen:
    """Pictures for the conformance check, and why they are drawn ones."""

    pictures: Pictures
    why_drawn: str = ""


def chosen_pictures(site: Site, state: State, about: About, count: int) -> Chosen:
    """Frames of the version's test split as they are stored; drawn ones where there are none.

    Stored frames are those that may be used now: of lawful footage, redacted as the card asks.

    Args:
        count: at most; 0 for drawn ones.
    """
    if count == 0:
        return Chosen(drawn_pictures(about), "none of the test split were asked for")
    try:
        return Chosen(_stored(site, state, count))
    except (CityforgeError, OSError) as error:
        why = str(error) if isinstance(error, CityforgeError) else first_cause(error)
        return Chosen(drawn_pictures(about), why)


def drawn_pictures(about: About) -> Pictures:
    """Boxes on a gradient with noise, twice as large as the network's input; the same each time."""
    from PIL import Image, ImageDraw

    width, height = 2 * about.input_width, 2 * about.input_height
    found: Pictures = []
    for number in range(DRAWN):
        draw = np.random.default_rng(number)
        ramp = np.linspace(40, 200, height)[:, None, None] + draw.integers(0, NOISE, (1, width, 3))
        image = Image.fromarray(ramp.astype(np.uint8))
        brush = ImageDraw.Draw(image)
        for _ in range(3 * number):
            x, y = draw.integers(0, width - 8), draw.integers(0, height - 8)
            w, h = draw.integers(8, width // 3), draw.integers(8, height // 3)
            colour = tuple(map(int, draw.integers(0, 255, 3)))
            brush.rectangle((int(x), int(y), int(x + w), int(y + h)), fill=colour)
        stream = io.BytesIO()
        image.save(stream, "PNG")
        found.append((f"drawn{number}.png", None, stream.getvalue()))
    return found


def _stored(site: Site, state: State, count: int) -> Pictures:
    dataset, frame_ids = _test_frames(site, str(state.register.body["snapshot_digest"]))
    folder = site.project.dataset_folder(dataset)
    frames = lawful_frames(site.project.dataset(dataset), folder, datetime.now(UTC)).frames
    usable = sorted({*frame_ids} & {*frames["frame_id"].to_pylist()})
    if not usable:
        raise DataError("stored frames of the test split that may be used", found="none",
                        where=str(folder))  # fmt: skip
    at = np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)
    store = FrameStore(folder / "frames", frames)
    return [
        (f"frame{number}.jpg", usable[row], store.read(usable[row]))
        for number, row in enumerate(at)
    ]


def _test_frames(site: Site, digest: str) -> tuple[str, list[str]]:
    """The dataset of a split, and the frames that it tests on."""
    path = split_path(lineage_root(site.project), digest)
    if not path.is_file():
        raise DataError("the version's split on this machine", found="none", where=str(path))
    split = pq.read_table(path)
    about: dict[str, Any] = json.loads((split.schema.metadata or {})[SPLIT_KEY])
    folder = snapshot_folder(lineage_root(site.project), about["snapshot"])
    frames = pq.read_table(folder / FRAMES_FILE, columns=["frame_id"])
    rows = zip(frames["frame_id"].to_pylist(), split["subset"].to_pylist(), strict=True)
    return str(about["dataset"]), [frame for frame, subset in rows if subset == "test"]


def fetch_report(site: Site, version: Version, out: Path) -> None:
    """Write the evaluation's report as it was registered.

    Raises:
        RegistryError: MLflow's store does not have it, or has another.
    """
    import mlflow

    client = site.client
    body = version.state.register.body if version.state else {}
    expected = body.get("report_digest")  # None: an older entry
    place = OLD_REPORTS if expected is None else report_place(str(body["package_digest"]))
    try:
        uri = f"{client.get_run(version.run_id).info.artifact_uri}/{place}/{REPORT}"
        fetched = mlflow.artifacts.download_artifacts(
            artifact_uri=uri, dst_path=str(out.parent / ".report"), tracking_uri=client.tracking_uri
        )
        if expected is not None:
            _refuse_other_report(Path(fetched), expected, uri)
        shutil.copyfile(fetched, out)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        found = first_cause(error) if isinstance(error, OSError) else str(error).splitlines()[0]
        raise RegistryError("the report of the version", found=found,
                            where=f"run {version.run_id}") from error  # fmt: skip
    finally:
        shutil.rmtree(out.parent / ".report", ignore_errors=True)


def _refuse_other_report(path: Path, expected: str, where: str) -> None:
    found = digest_of_file(path)
    if found != expected:
        raise RegistryError(
            f"the report {expected[:16] or 'that nobody registered'}", found=found[:16],
            where=where, do="it is not what was registered: do not believe it",
        )  # fmt: skip


def write_bento_files(
    root: Path, release: Path, version: Version, at: str, out: Path, scratch: Path
) -> Path:
    """Write what BentoML makes of the service (its Dockerfile among them), without the service.

    Args:
        at: ISO 8601, what the Bento is dated with.

    Returns:
        The wheel of cityforge.
    """
    made = make_bento(root, release, version, scratch / "bentoml")
    left_out = shutil.ignore_patterns("src", "wheels")
    shutil.copytree(made, out, ignore=left_out)
    _date(out / "bento.yaml", at)
    (wheel,) = (made / "env" / "python" / "wheels").glob("cityforge-*.whl")
    return wheel


def _date(path: Path, at: str) -> None:
    """Give a Bento the time of its approval, so that it is the same whenever it is built."""
    from ruamel.yaml import YAML

    yaml = YAML()
    content = yaml.load(path.read_text(encoding="utf-8"))
    content["creation_time"] = at
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
