"""Shards are plain tar files, the same bytes for the same members, and read by offset."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
import torch

from cityforge.errors import DataError
from cityforge.footage.shards import OPEN_SHARDS, FrameStore, Member, read_shard, write_shard
from cityforge.tables import FRAMES

MEMBERS = [
    (f"{name}.jpg", bytes([number]) * (500 + 700 * number)) for number, name in enumerate("cab")
]


def table(members: list[Member], shard: str) -> pa.Table:
    names = ("frame_id", "shard", "offset", "bytes")
    schema = pa.schema([FRAMES.field(name) for name in names])
    rows = [
        {
            "frame_id": each.name.removesuffix(".jpg"), "shard": shard,
            "offset": each.offset, "bytes": len(each.data),
        }
        for each in members
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    write_shard(tmp_path / "a.tar", MEMBERS)
    return FrameStore(tmp_path, table(list(read_shard(tmp_path / "a.tar")), "a.tar"))


def test_the_same_members_give_the_same_bytes(tmp_path: Path) -> None:
    write_shard(tmp_path / "one" / "a.tar", MEMBERS)
    write_shard(tmp_path / "two" / "b.tar", iter(MEMBERS))
    assert (tmp_path / "one/a.tar").read_bytes() == (tmp_path / "two/b.tar").read_bytes()


def test_a_shard_holds_no_time_and_no_owner_and_any_tar_reads_it(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", MEMBERS)
    with tarfile.open(tmp_path / "a.tar") as tar:
        found = [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
        infos = tar.getmembers()
    assert found == MEMBERS
    assert {(i.mtime, i.uid, i.gid, i.uname, i.gname, i.mode) for i in infos} == {
        (0, 0, 0, "", "", 0o644)
    }
    data = (tmp_path / "a.tar").read_bytes()
    assert data[257:263] == b"ustar\0"


def test_members_are_found_at_their_offset(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", MEMBERS)
    data = (tmp_path / "a.tar").read_bytes()
    members = list(read_shard(tmp_path / "a.tar"))
    assert [(each.name, each.data) for each in members] == MEMBERS
    for each in members:
        assert data[each.offset : each.offset + len(each.data)] == each.data


def test_a_shard_that_breaks_off_while_written_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> object:
        yield MEMBERS[0]
        raise RuntimeError("camera gone")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "a.tar", broken())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_shard_cut_anywhere_is_no_whole_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", MEMBERS)
    data = (tmp_path / "a.tar").read_bytes()
    last = list(read_shard(tmp_path / "a.tar"))[-1]
    cuts = range(0, last.offset + len(last.data), 256)  # within headers, within and after members
    for cut in cuts:
        (tmp_path / "a.tar").write_bytes(data[:cut])
        with pytest.raises(DataError, match="a whole tar shard"):
            list(read_shard(tmp_path / "a.tar"))
    assert len(cuts) > 15


def test_a_shard_with_a_damaged_header_is_no_whole_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", MEMBERS)
    data = bytearray((tmp_path / "a.tar").read_bytes())
    data[list(read_shard(tmp_path / "a.tar"))[1].offset - 500] ^= 1
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match="a whole tar shard"):
        list(read_shard(tmp_path / "a.tar"))


def test_frames_are_read_by_id(store: FrameStore) -> None:
    assert [store.read(name) for name in "abc"] == [dict(MEMBERS)[f"{name}.jpg"] for name in "abc"]


def test_an_unknown_frame_is_named(store: FrameStore) -> None:
    with pytest.raises(DataError, match="'nobody'"):
        store.read("nobody")


def test_a_missing_shard_is_named(store: FrameStore) -> None:
    (store.folder / "a.tar").unlink()
    with pytest.raises(DataError, match=r"no file.*a\.tar"):
        store.read("a")


def test_a_shard_shorter_than_its_table_is_named(store: FrameStore) -> None:
    os.truncate(store.folder / "a.tar", 2000)
    with pytest.raises(DataError, match=r"1900 bytes at .*a\.tar"):
        store.read("b")


def test_a_store_is_read_after_pickling(store: FrameStore) -> None:
    before = store.read("a")
    assert pickle.loads(pickle.dumps(store)).read("a") == before == dict(MEMBERS)["a.jpg"]


class Lengths(torch.utils.data.Dataset):
    def __init__(self, store: FrameStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[int, int, int]:
        data = self.store.read("cab"[index])
        return len(data), data[-1], os.getpid()


def test_a_store_is_read_in_forked_workers(store: FrameStore) -> None:
    store.read("a")  # opened before the fork
    context = multiprocessing.get_context("fork")
    loader = torch.utils.data.DataLoader(
        Lengths(store), batch_size=1, num_workers=2, multiprocessing_context=context
    )
    rows = [tuple(int(each) for each in row) for row in loader]
    assert [row[:2] for row in rows] == [(len(data), data[-1]) for _, data in MEMBERS]
    assert os.getpid() not in {row[2] for row in rows}
    assert store.read("a") == dict(MEMBERS)["a.jpg"]  # the workers closed nothing of ours


@pytest.fixture
def many(tmp_path: Path) -> FrameStore:
    """A store of 300 shards of one frame each; the frame of shard n is the number n."""
    tables = []
    for number in range(300):
        path = tmp_path / f"{number}.tar"
        write_shard(path, [(f"f{number}.jpg", number.to_bytes(4, "big"))])
        tables.append(table(list(read_shard(path)), path.name))
    return FrameStore(tmp_path, pa.concat_tables(tables))


def test_few_of_many_shards_are_open_at_once(many: FrameStore) -> None:
    process = psutil.Process()
    before = process.num_fds()
    for number in (*range(300), *range(0, 300, 7)):
        assert int.from_bytes(many.read(f"f{number}"), "big") == number
    assert 100 < process.num_fds() - before <= OPEN_SHARDS
    del many._opened
    assert process.num_fds() == before


def test_a_shard_is_not_closed_while_another_thread_reads_it(many: FrameStore) -> None:
    order = [number * 7 % 300 for number in range(6000)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: many.read(f"f{number}"), order))
    assert [int.from_bytes(each, "big") for each in found] == order
