"""What is published to endpoints as the journal goes on: bars come through, faults end nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from store import APPROVER, OTHER, Store, bless, revoke, withdraw

from cityforge.errors import NotApproved
from cityforge.inference.served import Exchange, read_published
from cityforge.registry.approval import approve, reject
from cityforge.registry.published import Publisher, pointer_path


class Served:
    """The publisher of a site, what it said, and the endpoint that follows it."""

    def __init__(self, store: Store, version: int | None = None) -> None:
        self.said: list[str] = []
        self.publisher = Publisher(store.site, store.name, version, self.said.append)
        self.folder = self.publisher.first()
        self.pointer = pointer_path(store.site, store.name)
        self.exchange = Exchange(self.folder, self.pointer)

    def look(self) -> str:
        """Why the endpoint may not answer, after both looked."""
        self.publisher.look()
        self.exchange.look()
        return self.exchange.now.barred


def test_a_compromised_key_bars_what_it_approved_and_a_rejection_still_comes(store: Store) -> None:
    bless(store.site, "小刚", ["approve"])
    approve(store.site, store.name, store.version(0.9).version, "小刚", "good")
    served = Served(store)
    revoke(store.site, "小刚", compromised=True)
    assert "revoked as compromised" in served.look()
    assert served.exchange.now.release.version == 1
    reject(store.site, store.name, 1, OTHER, "stolen")
    assert "rejected by" in served.look()
    second = store.version(0.8).version
    approve(store.site, store.name, second, OTHER, "good")
    assert served.look() == ""
    assert served.exchange.now.release.version == second


def damaged(folder: Path) -> None:
    path = folder / "package" / "model.onnx"
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("harm", [damaged, shutil.rmtree])
def test_a_withdrawal_bars_a_release_whose_folder_is_damaged(
    store: Store, harm: Callable[[Path], None]
) -> None:
    store.approved(0.9)
    served = Served(store)
    harm(served.folder)
    withdraw(store.site, store.name, 1)
    assert "its data was withdrawn" in served.look()


def test_a_damaged_folder_alone_stops_nothing(store: Store) -> None:
    store.approved(0.9)
    served = Served(store)
    damaged(served.folder)
    store.version(0.8)
    assert served.look() == ""
    assert [each[:16] for each in served.said] == ["version 1 stays:"]


def test_a_rejection_comes_through_beside_a_champion_that_cannot_be_served(store: Store) -> None:
    store.approved(0.9)
    served = Served(store)
    second = store.approved(0.8)
    fetched = store.site.project.work / "packages"
    (package,) = fetched.glob(f"{second.tags['cityforge.package_digest']}*")
    (package / "model.onnx").write_bytes(b"other")
    assert served.look() == ""
    reject(store.site, store.name, 1, APPROVER, "bad at night")
    assert "rejected by" in served.look()
    assert served.exchange.now.release.version == 1


def test_a_disk_that_is_full_is_said_and_tried_again(store: Store) -> None:
    store.approved(0.9)
    served = Served(store)
    second = store.approved(0.8)
    beside, parked = served.pointer.parent, served.pointer.parent.with_name("parked")
    beside.rename(parked)
    beside.write_text("a file where the folder was")  # nothing can be written below it
    served.publisher.look()
    served.publisher.look()
    assert len(served.said) == 1
    assert served.said[0].startswith("version 1 stays: ")
    beside.unlink()
    parked.rename(beside)
    assert served.look() == ""
    assert served.exchange.now.release.version == second.version


def test_a_version_that_fell_meanwhile_is_not_served(store: Store) -> None:
    for fall in (lambda number: reject(store.site, store.name, number, APPROVER, "bad"),
                 lambda number: withdraw(store.site, store.name, number)):  # fmt: skip
        number = store.approved(0.9).version
        fall(number)
        with pytest.raises(NotApproved, match=f"found version {number}, approved by .*, "):
            Publisher(store.site, store.name, number, print).first()
    assert not pointer_path(store.site, store.name).exists()


def test_which_packages_may_answer_is_published(store: Store) -> None:
    first, second, third = (store.approved(each) for each in (0.9, 0.8, 0.7))
    served = Served(store)
    digests = [each.tags["cityforge.package_digest"] for each in (first, second, third)]
    assert read_published(served.pointer).holding == tuple(digests)
    reject(store.site, store.name, first.version, APPROVER, "bad at night")
    served.look()
    assert read_published(served.pointer).holding == tuple(digests[1:])
