"""Withdrawn labels leave the dataset under seal, and neither an import nor a colleague's disk
brings them back."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from cityforge.cli import main
from cityforge.cli.expiry import withdrawn_labels_in
from cityforge.errors import CityforgeError, LabelError
from cityforge.labeling.formats.rows import LabelFile
from cityforge.labeling.history import read_state, states
from cityforge.labeling.stored import labels_path, read_labels
from cityforge.labeling.withdrawing import sealed_labels
from cityforge.labeling.withdrawn import Withdrawn, read_withdrawn, withdrawn_path
from cityforge.project import Project
from cityforge.registry.site import Site as RegistrySite
from cityforge.registry.standing import ACTS, standing
from cityforge.settings import Settings
from cityforge.tables import FOOTAGE, LABELS, from_rows, read_table, write_table
from cityforge.trust.journal import act, signer_of

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "registry"))
from kept import digest, keep, part, registered
from test_intake import A_CAR, Site, file, tables

WHO = "王芳"
CARD = """\
name: tiny
title: 小 · Tiny
classes:
  - {name: 汽车, definition: A car.}
  - {name: bus, definition: A bus.}
cameras:
  - {name: c, site: North gate}
privacy: {grade: public, lawful_basis: made here, redact: [], retention_days: 30}
licence: Apache-2.0
sampling: {policy: every, seconds: 0.5}
checks: {min_frames: 1, min_boxes_per_class: 2, min_box_px: 2, max_rejected_share: 0.1}
"""


def drawn() -> LabelFile:
    """Three pictures: a by li and wang, b by li alone, c by wang alone."""
    labels = file(
        {
            "a.jpg": [("汽车", A_CAR), ("bus", (0, 0, 64, 48))],
            "b.jpg": [("汽车", A_CAR)],
            "c.jpg": [("bus", A_CAR), ("汽车", (0, 0, 9, 9))],
        }
    )
    people = [("li", "1"), ("wang", "2"), ("li", "3"), ("wang", "4"), ("wang", "4")]
    labels.boxes[:] = [
        replace(box, annotator=who, annotation_id=of)
        for box, (who, of) in zip(labels.boxes, people, strict=True)
    ]
    return labels


def write_project(root: Path) -> Path:
    """A project with dataset tiny, its labels imported; the dataset's folder."""
    folder = root / "datasets" / "tiny"
    folder.mkdir(parents=True)
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: [tiny]\n", encoding="utf-8")
    (folder / "dataset.yaml").write_text(CARD, encoding="utf-8")
    footage, _ = tables("a.jpg", "b.jpg", "c.jpg")
    write_table(footage, FOOTAGE, folder / "footage" / "footage.parquet")
    Site(Project(root).dataset("tiny"), folder).take(drawn())
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CITYFORGE_USER", WHO)
    monkeypatch.setenv("CITYFORGE_JOURNAL", f"sqlite:///{tmp_path / 'journal.db'}")
    return write_project(tmp_path / "project")


@pytest.fixture
def withdraw(folder: Path) -> Callable[..., Result]:
    def run(*words: str, reason: str = "drew it badly") -> Result:
        root = folder.parents[1]
        start = ["--project", str(root), "label", "withdraw", "tiny", "--yes"]
        return CliRunner().invoke(main.app, [*start, "--reason", reason, *words])

    return run


def where(folder: Path) -> list[tuple[str, str | None, str | None]]:
    rows = read_labels(folder).to_pylist()
    return sorted((r["frame_id"], r["class"], r["annotator"]) for r in rows)


def label_of(folder: Path, frame: str, cls: str) -> str:
    rows = read_table(LABELS, labels_path(folder)).to_pylist()
    return next(r["label_id"] for r in rows if (r["frame_id"], r["class"]) == (frame, cls))


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--annotator", "wang"], [("a-0", "汽车", "li"), ("b-0", "汽车", "li")]),
        (["--annotation", "1", "--annotation", "4"],
         [("a-0", "bus", "wang"), ("b-0", "汽车", "li")]),
        (["--label", "a-0 汽车"],
         [("a-0", "bus", "wang"), ("b-0", "汽车", "li"), ("c-0", "bus", "wang"),
          ("c-0", "汽车", "wang")]),
    ],
)  # fmt: skip
def test_labels_go_under_seal_and_stay_out(
    folder: Path, withdraw: Callable[..., Result], words: list[str], left: list[Any]
) -> None:
    if words[0] == "--label":
        words = ["--label", label_of(folder, *words[1].split())]
    before = read_labels(folder)
    done = withdraw(*words, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert where(folder) == left
    sealed = read_table(LABELS, sealed_labels(folder))
    assert told["labels"] == sealed.num_rows == before.num_rows - len(left)
    both = sorted([*sealed.to_pylist(), *read_labels(folder).to_pylist()], key=str)
    assert both == sorted(before.to_pylist(), key=str)
    assert sealed_labels(folder).parent.stat().st_mode & 0o077 == 0
    # The state before can still be read, and the same file brings nothing back.
    earlier = next(each for each in states(folder) if not each.current)
    assert read_state(folder, "labels", earlier.digest).num_rows == before.num_rows
    site = Site(Project(folder.parents[1]).dataset("tiny"), folder)
    again = site.take(drawn())
    assert again.withdrawn == told["labels"]
    assert (again.rejected, again.empty_images) == ([], 0)
    assert where(folder) == left
    assert told["unlabelled_frames"] == 3 - len({frame for frame, *_ in left})
    assert told["plan"]["labels"] == {
        name: sum(cls == name for _, cls, _ in left) for name in ("汽车", "bus")
    }


def test_a_file_of_withdrawn_labels_alone_changes_nothing(
    folder: Path, withdraw: Callable[..., Result]
) -> None:
    assert withdraw("--annotator", "wang", "--annotator", "li").exit_code == 0
    site = Site(Project(folder.parents[1]).dataset("tiny"), folder)
    with pytest.raises(LabelError, match="5 withdrawn"):
        site.take(drawn())


def test_a_colleague_who_shares_the_journal_reads_them_no_more(
    folder: Path, withdraw: Callable[..., Result], tmp_path: Path
) -> None:
    """Neither labels.parquet nor withdrawn.json is brought to the colleague's checkout."""
    root = tmp_path / "colleague"
    shutil.copytree(folder.parents[1], root)
    theirs = root / "datasets" / "tiny"
    write_table(read_labels(theirs), LABELS, theirs / "snapshot" / "labels.parquet")
    assert withdrawn_labels_in(theirs) == 0
    assert withdraw("--annotator", "wang").exit_code == 0
    assert not withdrawn_path(theirs).exists()
    assert where(theirs) == [("a-0", "汽车", "li"), ("b-0", "汽车", "li")]
    assert withdrawn_labels_in(theirs) == 3  # so that `run` makes the snapshot anew
    again = Site(Project(root).dataset("tiny"), theirs).take(drawn())
    assert again.withdrawn == 3


def test_who_has_the_labels_alone_knows_by_their_list(
    folder: Path, withdraw: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert withdraw("--annotator", "wang").exit_code == 0
    monkeypatch.setenv("CITYFORGE_JOURNAL", f"sqlite:///{tmp_path / 'another.db'}")
    assert read_withdrawn(folder) == Withdrawn(frozenset({"annotator:wang"}))
    (listed,) = json.loads(withdrawn_path(folder).read_text(encoding="utf-8"))
    assert (listed["by"], listed["reason"]) == (WHO, "drew it badly")


@pytest.mark.parametrize("step", ["add_to_list", "take_out", "_seal", "replace_labels"])
def test_cut_short_anywhere_the_same_command_finishes(
    folder: Path, withdraw: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from cityforge.labeling import withdrawing, withdrawn

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    module = withdrawn if step == "add_to_list" else withdrawing
    with monkeypatch.context() as patched:
        patched.setattr(module, step, cut)
        assert withdraw("--annotator", "wang").exit_code != 0
    left = [("a-0", "汽车", "li"), ("b-0", "汽车", "li")]
    assert where(folder) == left  # it is on record, so it is not read
    done = withdraw("--annotator", "wang", "--json", reason="another reason")
    assert json.loads(done.stdout)["labels"] == 3
    assert read_table(LABELS, labels_path(folder)).num_rows == 2
    assert read_table(LABELS, sealed_labels(folder)).num_rows == 3
    entries = RegistrySite(Project(folder.parents[1]), Settings()).journal.entries(
        "dataset:tiny", ("withdraw",)
    )
    assert [each.body["reason"] for each in entries] == ["drew it badly"]


def test_versions_that_rest_on_them_are_listed_and_marked(
    folder: Path, withdraw: Callable[..., Result]
) -> None:
    project = Project(folder.parents[1])
    labels = read_labels(folder)
    _, frames = tables("a.jpg", "b.jpg", "c.jpg")
    of = keep(project, "snapshot", (), frames, labels, "tiny")
    split = part(project, "split", of, frames.slice(0, 0), "cars", "tiny")
    site = RegistrySite(project, Settings())
    signer = signer_of(site.journal, site.settings, WHO)
    act(site.journal, site.settings, signer, "register", "cars", registered(1, split, "cars"))
    done = withdraw("--annotator", "wang")
    assert done.exit_code == 0, done.output
    assert f"snapshot {digest('snapshot')[:16]} held them" in done.stdout
    assert "cars version 1" in done.stdout
    assert "3 labels on 2 frames lie in datasets/tiny/sealed/labels" in done.stdout
    assert "1 frames keep other labels" in done.stderr
    assert "fewer than the card's checks ask for: bus" in done.stderr
    now = standing(site.journal.entries(acts=ACTS), "cars")
    assert len(now.versions[1].open_withdrawals) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--annotator", "wangg"], "did you mean 'wang'"),
        (["--label", "0123456789abcdef"], "a label with this label id"),
        (["--annotation", "9"], "a label with this annotation id"),
        ([], "what to withdraw"),
        (["--annotator", "wang", "--reason", " "], "a reason that stays on record"),
    ],
)
def test_what_cannot_be_withdrawn_is_said_and_nothing_changes(
    folder: Path, withdraw: Callable[..., Result], words: list[str], said: str
) -> None:
    before = read_labels(folder)
    done = withdraw(*words)
    assert isinstance(done.exception, CityforgeError)
    assert said in str(done.exception)
    assert read_labels(folder).equals(before)
    assert not withdrawn_path(folder).exists()


def test_a_table_of_labels_and_what_is_left_of_it() -> None:
    rows: list[dict[str, object]] = [
        {"label_id": label, "frame_id": "f", "task": "detection", "source": "s", "origin": "human",
         "annotator": who, "annotation_id": of}
        for label, who, of in (
            ("1", "li", "10"), ("2", "li+wang", "10+11"), ("3", None, None), ("4", "lin", "110"),
        )
    ]  # fmt: skip
    table: pa.Table = from_rows(rows, LABELS)
    for ids, left in (
        ((), "1234"), (("1",), "234"), (("annotator:li",), "34"), (("annotator:wang",), "134"),
        (("annotation:10",), "34"), (("annotation:11",), "134"), (("3", "annotator:lin"), "12"),
    ):  # fmt: skip
        withdrawn = Withdrawn(frozenset(ids))
        assert "".join(withdrawn.left(table)["label_id"].to_pylist()) == left
        covered = [withdrawn.covers(r["label_id"], r["annotator"], r["annotation_id"])
                   for r in table.to_pylist()]  # fmt: skip
        assert covered == withdrawn.rows_of(table).to_pylist()
