"""Where a training begins: from scratch, or from weights that exist already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cityforge.cards.algorithm import Algorithm
from cityforge.dataset.digests import digest_of, digest_of_file
from cityforge.errors import InputError, NameUnknown, ServiceError
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.tasks.kinds import build_network
from cityforge.training.registered import SCHEME, fetch_weights, find_weights, refuse_fallen
from cityforge.training.stored import CHECKPOINTS, SAFE, Stored, read_weights
from cityforge.training.tracking import tracking_client
from cityforge.trust.journal import open_journal

SCRATCH = "scratch"
TIMM = "timm"
KNOWN = f"scratch, timm, a {SAFE}, .ckpt or .pt file, or models:/ALGORITHM/VERSION"
# So much of the backbone must be found in the file, else the file is of something else.
LEAST_SHARE = 0.5
BACKBONE = "backbone."
# What trainers and wrappers put before the names of a network's tensors.
WRAPPERS = ("network.", "module.", "model.", "_orig_mod.")


@dataclass(frozen=True)
class Origin:
    """Where a network's weights began, as train.json and the tracking say it.

    Attributes:
        source: as the card asks, an alias resolved to its number.
        digest: sha256 of the file; "" from scratch.
        snapshot: digest of the snapshot that the weights were trained on, where it is known.
        matched: tensors taken from it, of `tensors`.
        reinitialised: tensors that stay as from scratch, in part or whole.
        kept_classes: classes that go on from what they had learnt.
        new_classes: classes that begin anew.
    """

    source: str
    digest: str
    snapshot: str
    matched: int
    tensors: int
    reinitialised: tuple[str, ...]
    kept_classes: tuple[str, ...]
    new_classes: tuple[str, ...]

    def line(self) -> str:
        """What a person reads of it."""
        if self.source == SCRATCH:
            return "weights from scratch"
        said = f"weights from {self.source}: {self.matched} of {self.tensors} tensors"
        for words, names in (("kept", self.kept_classes), ("new", self.new_classes)):
            said += f", {words} classes: {', '.join(names)}" if names else ""
        return said


def warm_start(
    network: Any,
    weights: str,
    *,
    card: Algorithm,
    loss: Mapping[str, Any],
    project: Project,
    settings: Settings,
) -> Origin:
    """Put existing weights into a network from scratch; the random state stays as it was.

    Rows of classes that both have by name are kept, rows of new classes are from scratch.

    Args:
        weights: `train.weights`; a file's path is relative to the project's root.
        card: of the network, with its task and classes.
        loss: `train.loss`.

    Raises:
        InputError: no weights there, of another task, or of another network.
        NameUnknown: no such version.
        RegistryError: a version that was rejected, or whose data was withdrawn.
        ServiceError: what has to be fetched cannot be.
    """
    classes = tuple(card.classes)
    own = network.state_dict()
    if weights == SCRATCH:
        return Origin(SCRATCH, "", "", 0, len(own), tuple(own), (), classes)
    with torch.random.fork_rng(devices=[]):
        stored = _open(network, weights, project, settings)
        _refuse_other_task(stored, card)
        dims = _class_dims(own, card, loss, project)
    return _take(network, stored, dims, classes)


def weights_digest(weights: str, project: Project, settings: Settings) -> str:
    """What changes with the content that `train.weights` names; for the digest of the inputs.

    Raises:
        InputError: no such file, or no such address.
        NameUnknown: no such version.
        RegistryError: it was rejected, or its data was withdrawn.
    """
    if weights.startswith(SCHEME):
        found = find_weights(tracking_client(project, settings), weights)
        refuse_fallen(open_journal(project, settings), found.name)
        return found.digest
    if weights in (SCRATCH, TIMM):
        return weights
    return digest_of_file(_path_of(weights, project))


def _open(network: Any, weights: str, project: Project, settings: Settings) -> Stored:
    if weights == TIMM:
        return _from_timm(network, settings)
    if weights.startswith(SCHEME):
        client = tracking_client(project, settings)
        refuse_fallen(open_journal(project, settings), find_weights(client, weights).name)
        path, name = fetch_weights(client, project, weights)
        return read_weights(path, name)
    return read_weights(_path_of(weights, project), weights)


def _path_of(weights: str, project: Project) -> Path:
    path = project.root / weights
    if path.suffix not in (SAFE, *CHECKPOINTS):
        if "." in weights or "/" in weights:
            raise InputError(KNOWN, found=f"'{weights}'", where="train.weights")
        raise NameUnknown(KNOWN, weights, (SCRATCH, TIMM), where="train.weights")
    if not path.is_file():
        raise InputError(
            "a file of weights", found="a folder" if path.is_dir() else "none", where=str(path),
            do="correct train.weights",
        )  # fmt: skip
    return path


def _from_timm(network: Any, settings: Settings) -> Stored:
    """The weights that timm's authors publish for the network's backbone."""
    if settings.offline:
        raise ServiceError(
            "a connected site for train.weights: timm", found="CITYFORGE_OFFLINE on",
            do="set CITYFORGE_OFFLINE=false, or bring the file and name it in train.weights",
        )  # fmt: skip
    import httpx
    import timm

    about = getattr(network.backbone, "pretrained_cfg", None) or {}
    name = about.get("architecture")
    if not name:
        raise InputError(
            "a backbone of timm for train.weights: timm", found=type(network.backbone).__name__,
            where="train.weights", do="name a file, or scratch",
        )  # fmt: skip
    try:
        state = dict(timm.create_model(name, pretrained=True).state_dict())
    except (OSError, RuntimeError, ValueError, httpx.HTTPError) as error:
        raise ServiceError(
            f"timm's weights of {name}", found=str(error).strip().splitlines()[0][:200],
            where="its model hub", do="try again, or bring the file and name it in train.weights",
        ) from error  # fmt: skip
    digest = digest_of({key: _digest(each) for key, each in state.items()})
    return Stored(f"timm/{name}.{about.get('tag', '')}".rstrip("."), digest, state)


def _digest(values: Tensor) -> str:
    import hashlib

    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()


def _refuse_other_task(stored: Stored, card: Algorithm) -> None:
    if stored.task and stored.task != card.task:
        raise InputError(
            f"weights of task {card.task}", found=f"task {stored.task}",
            where=f"train.weights: {stored.source}", do="name weights of this task, or scratch",
        )  # fmt: skip


def _class_dims(
    own: Mapping[str, Tensor], card: Algorithm, loss: Mapping[str, Any], project: Project
) -> dict[str, int]:
    """Which dimension of which tensor counts classes: the one that a class more makes longer.

    -1 where a class more changes the tensor in another way: it is always from scratch.
    """
    count = len(card.classes)
    folder = project.algorithm_folder(card.name)
    wider = build_network(card.task, card.network, count + 1, loss=loss, folder=folder).state_dict()
    dims = {}
    for name, each in own.items():
        here, there = tuple(each.shape), tuple(wider[name].shape) if name in wider else ()
        if here == there:
            continue
        apart = [d for d, (a, b) in enumerate(zip(here, there, strict=False)) if a != b]
        counts = len(here) == len(there) and len(apart) == 1 and here[apart[0]] == count
        dims[name] = apart[0] if counts and there[apart[0]] == count + 1 else -1
    return dims


def _take(
    network: Any, stored: Stored, dims: Mapping[str, int], classes: tuple[str, ...]
) -> Origin:
    own = network.state_dict()  # shares its memory with the network
    found = _named_as(own, stored.state)
    whole = [
        name
        for name, each in own.items()
        if name in found and name not in dims and _alike(found[name], each)
    ]
    _refuse_too_little(own, whole, dims, found, stored)
    with torch.no_grad():
        for name in whole:
            own[name].copy_(found[name])
        rows = [
            name
            for name, dim in dims.items()
            if name in found and _take_rows(own[name], found[name], dim, classes, stored.classes)
        ]
    kept = tuple(each for each in classes if rows and each in (stored.classes or ()))
    new = tuple(each for each in classes if each not in kept)
    began = whole + (rows if not new else [])
    return Origin(
        source=stored.source,
        digest=stored.digest,
        snapshot=stored.snapshot,
        matched=len(whole) + len(rows),
        tensors=len(own),
        reinitialised=tuple(name for name in own if name not in set(began)),
        kept_classes=kept,
        new_classes=new,
    )


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.is_floating_point() == other.is_floating_point()


def _take_rows(
    own: Tensor, found: Tensor, dim: int, classes: Sequence[str], before: Sequence[str] | None
) -> bool:
    """Copy the rows of the classes that both have; True when there was one."""
    if dim < 0 or before is None or found.ndim != own.ndim or found.shape[dim] != len(before):
        return False
    rest = [size for d, size in enumerate(own.shape) if d != dim]
    if [size for d, size in enumerate(found.shape) if d != dim] != rest:
        return False
    shared = [each for each in classes if each in before]
    to = torch.tensor([classes.index(each) for each in shared], dtype=torch.long)
    of = torch.tensor([before.index(each) for each in shared], dtype=torch.long)
    own.index_copy_(dim, to, found.index_select(dim, of).to(own.dtype))
    return bool(shared)


def _named_as(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The stored tensors by the network's names, whatever wrapped them or stands around them."""
    bare = {_unwrapped(name): each for name, each in state.items()}
    parts = ("", *sorted({name.partition(".")[0] + "." for name in own}))
    readings = [
        {part + name: each for name, each in given.items()}
        for part in parts
        for given in (state, bare)
    ]
    return max(readings, key=lambda each: sum(name in own for name in each))


def _unwrapped(name: str) -> str:
    for each in WRAPPERS:
        if name.startswith(each):
            return _unwrapped(name.removeprefix(each))
    return name


def _refuse_too_little(
    own: Mapping[str, Tensor],
    whole: Sequence[str],
    dims: Mapping[str, int],
    found: Mapping[str, Tensor],
    stored: Stored,
) -> None:
    """Refuse weights of which less than LEAST_SHARE of the backbone's numbers fit."""
    free = [name for name in own if name not in dims]
    asked = [name for name in free if name.startswith(BACKBONE)] or free
    total = sum(own[name].numel() for name in asked)
    fitting = sum(own[name].numel() for name in whole if name in set(asked))
    if fitting >= LEAST_SHARE * total:
        return
    known = sum(name in own for name in found)
    of = f" of network {stored.network}" if stored.network else ""
    raise InputError(
        f"weights that fill at least {LEAST_SHARE:.0%} of the backbone",
        found=f"{fitting / max(1, total):.0%} that fit{of} "
        f"({known} of {len(found)} tensors have a name of this network's)",
        where=f"train.weights: {stored.source}",
        do="name weights of the same network, or scratch",
    )
