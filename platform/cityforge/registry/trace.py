"""Traces anything that has an id, back to labels and films and forward to what answers with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cityforge.dataset.lineage_lookup import Lineage, integers, numbers, of_annotation, scalar
from cityforge.errors import InputError, NameUnknown
from cityforge.registry.answered import PREFIX, Answers, bentos_here, is_bento_of, served_here
from cityforge.registry.records import Basis, Named, Records
from cityforge.registry.trace_back import basis_nodes, columns_of, film_node, split_node
from cityforge.registry.trace_forward import Forward, Holds, rows_by_snapshot
from cityforge.registry.trace_tree import Node, number_of

REQUEST = re.compile(r"(?:(?P<package>[0-9a-f]{16})-)?[0-9a-f]{32}")
VERSION = re.compile(r"(?P<name>[^@:]+)@(?P<version>\d+)")
BENTO = re.compile(r"(?P<name>[^@:]+):v(?P<version>\d+)-[0-9a-f]+(-[0-9a-f]+)?")
FRAME = re.compile(r"[0-9a-f]{16}-\d+")
DIGEST = re.compile(r"[0-9a-f]{8,64}")
KINDS = ("request", "version", "digest", "label", "annotation", "annotator", "frame", "film",
         "endpoint", "bento")  # fmt: skip


def trace(records: Records, text: str, *, dataset: str = "", full: bool = False) -> Node:
    """The thing with this id, with all that it rests on and that rests on it.

    Args:
        text: an id, or KIND:ID where two kinds of things have the same.
        dataset: looks at snapshots of this dataset alone.
        full: also each label, frame and answer, not only their number.

    Raises:
        NameUnknown: nothing on record has it.
        InputError: several things have it.
    """
    found = list(_Search(records, dataset, full).all(text))
    if not found:
        raise InputError(
            "the id of a request, version, package, evidence, snapshot, label, annotation, "
            "annotator, frame, film, endpoint or Bento",
            found=f"'{text}', which nothing on record here has",
            do="cityforge trace --fetch brings what other machines have on record",
        )
    if len(found) > 1:
        named = ", ".join(f"{each.kind}:{each.id}" for each in found[:6])
        raise InputError("one thing", found=f"{len(found)} with the id '{text}'",
                         do=f"name one: {named}")  # fmt: skip
    return found[0]


class _Search:
    def __init__(self, records: Records, dataset: str, full: bool) -> None:
        self._records = records
        self._full = full
        self._forward = Forward(records, full)
        self._lineages = {
            digest: each
            for digest, each in records.lineages.items()
            if dataset in ("", each.about["dataset"])
        }
        self._dataset = dataset

    def all(self, text: str) -> Iterator[Node]:
        """Everything that has this id; an id of its own form is looked for in one place alone."""
        kind, colon, rest = text.partition(":")
        if colon and kind in KINDS:
            yield from self._of_kind(kind, rest)
            return
        for pattern, kinds in ((VERSION, ("version",)), (REQUEST, ("request", "digest")),
                               (BENTO, ("bento",)), (FRAME, ("frame",))):  # fmt: skip
            if pattern.fullmatch(text):
                for each in kinds:
                    yield from self._of_kind(each, text)
                return
        for each in ("endpoint", "film", "label", "annotation", "annotator", "digest"):
            yield from self._of_kind(each, text)

    def _of_kind(self, kind: str, text: str) -> Iterator[Node]:
        look: Callable[[str], Iterator[Node]] = getattr(self, f"_{kind}")
        yield from look(text)

    def _request(self, text: str) -> Iterator[Node]:
        matched = REQUEST.fullmatch(text)
        if matched is None:
            return
        told = Answers(self._records.project).find(text)
        package = told.get("package_digest") or matched["package"]
        if not package:
            return  # of an older endpoint, and not in the log
        at = f" at {told['at']}" if told else ", which is not in this machine's log"
        node = Node("request", text, f"request {text}{at}", {"answer": told or None})
        node.back = [self._version_node(each) for each in self._by("package_digest", package)]
        if told or node.back:
            yield node

    def _version(self, text: str) -> Iterator[Node]:
        matched = VERSION.fullmatch(text)
        if matched is None:
            return
        named = (matched["name"], int(matched["version"]))
        if named not in self._records.versions:
            known = [f"{name}@{number}" for name, number in self._records.versions]
            raise NameUnknown("a version on record", text, known)
        yield self._version_node(named)

    def _version_node(self, named: Named) -> Node:
        node = self._forward.version(named)
        node.back = basis_nodes(self._records, named, self._full)
        heirs = [self._forward.version(each) for each in self._records.heirs.get(named, [])]
        for heir in heirs:
            heir.text = f"its weights were the first of {heir.text}"
        node.forward += heirs
        return node

    def _bento(self, text: str) -> Iterator[Node]:
        matched = BENTO.fullmatch(text)
        named = (matched["name"], int(matched["version"])) if matched else ("", 0)
        if named not in self._records.versions:
            return
        package = str(self._records.versions[named].register.body["package_digest"])
        if is_bento_of(text, *named, package):
            here = text in bentos_here(self._records.project)
            where = "" if here else ", which was not built on this machine"
            yield Node("bento", text, f"Bento {text}{where}", back=[self._version_node(named)])

    def _endpoint(self, text: str) -> Iterator[Node]:
        if text not in self._records.algorithms:
            return
        served = served_here(self._records.project).get(text)
        champion = self._records.standing(text).champion
        number = served[0] if served else champion
        said = f"answers with version {number}" if served else "not served on this machine"
        why = f", barred: {served[1]}" if served and served[1] else ""
        facts = {"version": number, "champion": champion, "barred": served[1] if served else ""}
        node = Node("endpoint", text, f"endpoint of '{text}': {said}{why}", facts)
        node.back = [self._version_node((text, number))] if number else []
        yield node

    def _digest(self, text: str) -> Iterator[Node]:
        if not DIGEST.fullmatch(text):
            return
        named = [*self._by("package_digest", text), *self._by("evidence_digest", text)]
        for each in dict.fromkeys(named):
            yield self._version_node(each)
        splits = {each for each in self._records.of_split if each.startswith(text)}
        snapshots = {each for each in self._lineages if each.startswith(text)}
        for history in self._records.histories.values():
            for digest, held in history.items():
                if digest.startswith(text):
                    (splits if held.algorithm else snapshots).add(digest)
        for split in sorted(splits):
            dataset, snapshot = self._records.snapshot_of(split)
            node = split_node(self._records, Basis(split, snapshot, dataset), self._full)
            made = self._records.of_split.get(split, [])
            node.forward = [self._forward.version(each) for each in made]
            yield node
        for snapshot in sorted(snapshots - splits):
            (node,) = self._forward.snapshots({snapshot: None})
            whole = split_node(
                self._records, Basis("", snapshot, node.facts["dataset"]), self._full
            )
            node.back, node.facts = whole.back, {**node.facts, **whole.facts}
            yield node

    def _by(self, name: str, prefix: str) -> list[Named]:
        """Versions with a digest that begins so."""
        return [
            named
            for named, state in self._records.versions.items()
            if str(state.register.body[name]).startswith(prefix[: max(PREFIX, len(prefix))])
        ]

    def _label(self, text: str) -> Iterator[Node]:
        found = self._labels(lambda each: _where(each.labels_with(text), "label_id", text))
        if found:
            newest = next(iter(found.values()))
            row = newest.slice(0, 1)
            told = {name: values[0] for name, values in columns_of(row).items()}
            node = Node(
                "label", text,
                f"label {text}: {told['class'] or 'nothing there'}, by "
                f"{told['annotator'] or 'nobody named'}, from {told['source']}",
                told, back=[self._frame_node(next(iter(found)), row)],
            )  # fmt: skip
            node.forward = self._forward.snapshots(rows_by_snapshot(found))
            yield node

    def _annotation(self, text: str) -> Iterator[Node]:
        def look(each: Lineage) -> pa.Table:
            rows = each.labels_with(text)
            return rows.filter(of_annotation(rows, text))

        yield from self._of_many("annotation", text, self._labels(look))

    def _annotator(self, text: str) -> Iterator[Node]:
        theirs = {
            digest: each
            for digest, each in self._lineages.items()
            if text and any(text == one["annotator"] for one in each.about["annotators"])
        }
        if self._full or not theirs:
            found = {digest: each.labels_of(text) for digest, each in theirs.items()}
            yield from self._of_many("annotator", text, found)
            return
        drawn = {digest: each.frames_by(text) for digest, each in theirs.items()}
        most = max(drawn, key=lambda each: len(drawn[each]))
        frames = {digest: np.unique(rows) for digest, rows in drawn.items()}
        count = f"{number_of(len(drawn[most]), 'label')} on {number_of(len(frames[most]), 'frame')}"
        yield Node(
            "annotator", text, f"annotator {text}: {count} of the snapshot that holds most",
            {"labels": len(drawn[most]), "frames": len(frames[most])},
            back=_films_of(theirs[most], drawn[most]), forward=self._forward.snapshots(frames),
        )  # fmt: skip

    def _of_many(self, kind: str, text: str, found: dict[str, pa.Table]) -> Iterator[Node]:
        """Something that several labels came from."""
        if not found:
            return
        labels = {each for table in found.values() for each in table["label_id"].to_pylist()}
        frames = {each for table in found.values() for each in table["frame_id"].to_pylist()}
        node = Node(
            kind, text,
            f"{kind} {text}: {number_of(len(labels), 'label')} on "
            f"{number_of(len(frames), 'frame')}",
            {"labels": len(labels), "frames": len(frames)},
        )  # fmt: skip
        if self._full:
            whole = pa.concat_tables(found.values())
            _, once = np.unique(whole["label_id"].to_numpy(zero_copy_only=False), return_index=True)
            node.facts["held"] = columns_of(whole.take(numbers(np.sort(once))))
        node.back = self._films(found)
        node.forward = self._forward.snapshots(rows_by_snapshot(found))
        yield node

    def _films(self, found: dict[str, pa.Table]) -> list[Node]:
        counts: dict[str, int] = {}
        films: dict[str, dict[str, Any]] = {}
        for digest, labels in found.items():
            for each in labels["footage_id"].value_counts().to_pylist():
                counts.setdefault(each["values"], each["counts"])
                films.setdefault(each["values"], self._lineages[digest].film(each["values"]))
        return _by_labels(dict(enumerate(counts.values())), list(films.values()))

    def _frame(self, text: str) -> Iterator[Node]:
        for digest, each in self._lineages.items():
            rows = each.frames_of(text)
            if rows.num_rows:
                labels = each.labels_on(integers(rows["row"]))
                node = self._frame_node(digest, rows)
                node.facts["held"] = columns_of(labels)
                node.forward = [
                    Node("label", one["label_id"], f"label {one['label_id']}: "
                         f"{one['class'] or 'nothing there'}, by "
                         f"{one['annotator'] or 'nobody named'}")
                    for one in labels.to_pylist()
                ]  # fmt: skip
                node.forward += self._forward.snapshots(self._holds(text))
                yield node
                return

    def _frame_node(self, digest: str, row: pa.Table) -> Node:
        told = row.select(["frame_id", "footage_id", "pts_s"]).to_pylist()[0]
        film = self._lineages[digest].film(told["footage_id"])
        text = f"frame {told['frame_id']}: second {told['pts_s']:.3f} of its film"
        node = Node("frame", told["frame_id"], text, told)
        node.back = [film_node(film, {}, film.get("labels", 0))]
        node.back[
            0
        ].text = f"film {film.get('name')} ({told['footage_id']}), camera {film.get('camera')}"
        return node

    def _film(self, text: str) -> Iterator[Node]:
        for footage_id, film in self._films_called(text).items():
            holds = self._holds(footage_id)
            counted = next(
                (len(rows) for rows in holds.values() if rows is not None), film.get("frames", 0)
            )
            node = Node(
                "film", footage_id,
                f"film {film.get('name') or 'without a name on record'} ({footage_id}), camera "
                f"{film.get('camera')}: {number_of(counted, 'frame')} labelled",
                {**film, "started_at": str(film["started_at"]) if film.get("started_at") else None},
            )  # fmt: skip
            lineage = next((self._lineages[each] for each in holds if each in self._lineages), None)
            if lineage:
                labels = lineage.labels_on(integers(lineage.frames_of(footage_id)["row"]))
                node.facts["held"] = columns_of(labels) if self._full else None
                node.forward = _people(labels)
            node.forward += self._forward.snapshots(holds)
            yield node

    def _films_called(self, text: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for each in self._lineages.values():
            asked = scalar(text)
            wanted = pc.or_kleene(
                pc.equal(each.films["footage_id"], asked), pc.equal(each.films["name"], asked)
            )
            for film in each.films.filter(wanted).to_pylist():
                found.setdefault(film["footage_id"], film)
        for dataset, history in self._records.histories.items():
            asked = self._dataset in ("", dataset)
            if asked and any(text in held.footage for held in history.values()):
                found.setdefault(text, {"footage_id": text, "camera": None})
        return found

    def _holds(self, text: str) -> Holds:
        """Snapshots that hold a frame or a film; rows are None where the films alone are known."""
        found: dict[str, Any] = {}
        for digest, each in self._lineages.items():
            rows = integers(each.frames_of(text)["row"])
            if len(rows):
                found[digest] = rows
        for dataset, history in self._records.histories.items():
            for digest, held in history.items():
                known = held.algorithm or digest in self._records.lineages
                if not known and text in held.footage and self._dataset in ("", dataset):
                    found[digest] = None
        return found

    def _labels(self, look: Callable[[Lineage], pa.Table]) -> dict[str, pa.Table]:
        """Labels that are found in each snapshot, where there are any."""
        found = {digest: look(each) for digest, each in self._lineages.items()}
        return {digest: labels for digest, labels in found.items() if labels.num_rows}


def _films_of(lineage: Lineage, frames: NDArray[Any]) -> list[Node]:
    """The films of the labels on these frames."""
    counts = np.bincount(lineage.codes["film"][frames], minlength=lineage.films.num_rows)
    return _by_labels(dict(enumerate(counts.tolist())), lineage.films.to_pylist())


def _by_labels(counts: dict[int, int], films: list[dict[str, Any]]) -> list[Node]:
    nodes = [film_node(films[at], {}, count) for at, count in counts.items() if count]
    for node in nodes:
        said = f"{node.facts.get('name') or 'film'} ({node.id})"
        node.text = f"{said}, {number_of(int(node.facts['labels']), 'label')}"
    return sorted(nodes, key=lambda each: (-int(each.facts["labels"]), each.id))


def _where(table: pa.Table, name: str, text: str) -> pa.Table:
    return table.filter(pc.equal(table[name], scalar(text)))


def _people(labels: pa.Table) -> list[Node]:
    """Who labelled a film."""
    counts = labels["annotator"].value_counts().to_pylist()
    nodes = [
        Node("annotator", each["values"] or "",
             f"{each['values'] or 'nobody named'}: {number_of(each['counts'], 'label')}",
             {"labels": each["counts"]})
        for each in counts
    ]  # fmt: skip
    return sorted(nodes, key=lambda each: (-int(each.facts["labels"]), each.id))
