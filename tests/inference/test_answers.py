"""The log of answers and the ids of requests: quick, shared, and honest on a full disk."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Barrier

import pytest

from cityforge.errors import ServiceError
from cityforge.inference.answers import AnswerLog, AnswerRow, RequestIds, open_secret, request_id
from cityforge.project import Project
from cityforge.registry.answered import Answers

DIGEST = "0123456789abcdef" * 4
DAY = "2026-03-01"


def row(number: int = 0, day: str = DAY, **more: object) -> AnswerRow:
    return AnswerRow(
        f"{DIGEST[:16]}-{number:032x}", f"{day}T08:00:00.000+00:00", "tiny", 1, DIGEST, 1, 2.5,
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


def open_files(folder: Path) -> int:
    held = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return sum(each.is_relative_to(folder) for each in held)


def ids_in(path: Path) -> list[int]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [int(json.loads(line)["request_id"][17:], 16) for line in lines]


# ids


def test_an_id_names_the_package_and_is_known_again() -> None:
    ids = RequestIds(b"k" * 32)
    made = ids.new(DIGEST)
    assert len(made) == len(request_id(DIGEST)) == 49
    assert made.startswith("0123456789abcdef-")
    assert ids.made(made)
    assert RequestIds(b"k" * 32).made(made)
    assert len({ids.new(DIGEST) for _ in range(2000)}) == 2000


def test_the_end_of_an_id_is_the_hmac_of_its_beginning() -> None:
    """RFC 2104 by hand."""
    made, key = RequestIds(b"k" * 32).new(DIGEST), b"k" * 32 + bytes(32)
    inner, outer = (bytes(each ^ pad for each in key) for pad in (0x36, 0x5C))
    inside = sha256(inner + made[:-16].encode()).digest()
    assert sha256(outer + inside).hexdigest()[:16] == made[-16:]


def test_ids_that_were_never_made_are_told() -> None:
    ids = RequestIds(b"k" * 32)
    made = ids.new(DIGEST)
    other = "f" if made[20] != "f" else "e"
    never = [
        "", "x", request_id(DIGEST), RequestIds(b"j" * 32).new(DIGEST), made + "0", made[:-1],
        made[:20] + other + made[21:], other + made[1:], made.upper(), made + "\n", " " + made,
        made.replace("-", "_"), "０" * 16 + made[16:], "é" * 49, made * 1000,
    ]  # fmt: skip
    assert [each for each in never if ids.made(each)] == []


def test_two_processes_without_a_secret_do_not_know_each_others_ids() -> None:
    assert not RequestIds(None).made(RequestIds(None).new(DIGEST))


def test_a_secret_is_made_once_by_processes_that_race(tmp_path: Path) -> None:
    path = tmp_path / "serving" / "secret"
    code = (
        "import sys, pathlib\nfrom cityforge.inference.request_ids import open_secret\n"
        "sys.stdin.readline()\nprint(open_secret(pathlib.Path(sys.argv[1])).hex())"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda each: each.communicate("\n")[0].strip(), racers))
    assert set(found) == {path.read_bytes().hex()}
    assert len(found[0]) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_a_secret_is_made_once_by_threads_that_race(tmp_path: Path) -> None:
    barrier = Barrier(8)

    def race(number: int) -> bytes:
        barrier.wait(30)
        return open_secret(tmp_path / str(number))

    with ThreadPoolExecutor(8) as pool:
        for number in range(30):
            assert len(set(pool.map(race, [number] * 8))) == 1
    assert len(list(tmp_path.iterdir())) == 30


def test_a_secret_that_is_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x" * 31)
    (tmp_path / "file").write_text("")
    for path, found in (
        (tmp_path / "short", "31 bytes"),
        (tmp_path, "directory"),
        (tmp_path / "file" / "secret", "File exists"),
    ):
        with pytest.raises(ServiceError, match=found):
            open_secret(path)


# log


def test_a_line_says_who_asked_and_how_much(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path)
    log.write(row(1, caller="值班室", route="analyze", bytes=80_123))
    (line,) = (tmp_path / f"{DAY}.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "request_id": f"{DIGEST[:16]}-{1:032x}", "at": f"{DAY}T08:00:00.000+00:00",
        "algorithm": "tiny", "version": 1, "package_digest": DIGEST, "pictures": 1, "ms": 2.5,
        "caller": "值班室", "route": "analyze", "bytes": 80_123,
    }  # fmt: skip
    assert (tmp_path / f"{DAY}.jsonl").stat().st_mode & 0o777 == 0o600


def test_old_lines_still_read(tmp_path: Path) -> None:
    old = (
        '{"algorithm": "tiny", "at": "2026-02-01T00:00:00.000+00:00", "ms": 2.5, '
        f'"package_digest": "{DIGEST}", "pictures": 1, "request_id": "old", "version": 1}}'
    )
    folder = tmp_path / ".cityforge" / "answers"
    folder.mkdir(parents=True)
    (folder / "2026-02-01.jsonl").write_text(old + "\n")
    AnswerLog(folder).write(row(2, caller="a"))
    answers = Answers(Project(tmp_path))
    assert answers.counts[DIGEST] == 2
    assert AnswerRow(**answers.find("old")).caller == ""
    assert answers.find(row(2).request_id)["caller"] == "a"
    assert answers.ids(DIGEST) == [row(2).request_id, "old"]


def test_a_new_day_has_a_file_of_its_own(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path / "answers")
    for number, day in enumerate((DAY, DAY, "2026-03-02", DAY)):
        log.write(row(number, day))
    assert ids_in(tmp_path / "answers" / f"{DAY}.jsonl") == [0, 1, 3]
    assert ids_in(tmp_path / "answers" / "2026-03-02.jsonl") == [2]


def test_a_file_that_vanished_or_was_rotated_is_made_anew(tmp_path: Path) -> None:
    path, log = tmp_path / f"{DAY}.jsonl", AnswerLog(tmp_path)
    log.write(row(0))
    path.rename(tmp_path / "rotated")
    log.write(row(1))
    assert (ids_in(tmp_path / "rotated"), ids_in(path)) == ([0], [1])
    path.unlink()
    log.write(row(2))
    assert ids_in(path) == [2]
    path.rename(tmp_path / "rotated")
    path.write_text("")
    log.write(row(3))
    assert ids_in(path) == [3]


def test_several_processes_share_a_file(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom cityforge.inference.answers import *\n"
        "log = AnswerLog(pathlib.Path(sys.argv[1]))\n"
        "for n in range(300):\n"
        f"    log.write(AnswerRow(f'{DIGEST[:16]}-{{int(sys.argv[2]) + n:032x}}',\n"
        f"              '{DAY}', 'tiny', 1, 'd', 1, 1.0, caller='c' * 400))\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(1000 * each)])
        for each in range(3)
    ]
    assert [each.wait(60) for each in writers] == [0, 0, 0]
    assert sorted(ids_in(tmp_path / f"{DAY}.jsonl")) == [
        1000 * each + n for each in range(3) for n in range(300)
    ]


def test_a_full_disk_is_said_once_and_so_is_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, log = tmp_path / f"{DAY}.jsonl", AnswerLog(tmp_path)
    path.symlink_to("/dev/full")  # every write to it fails with ENOSPC
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            log.write(row(number))
        path.unlink()
        for number in range(3, 5):
            log.write(row(number))
    assert log.lost == 3
    assert ids_in(path) == [3, 4]
    assert [record.getMessage() for record in caplog.records] == [
        f"answers are not logged: No space left on device in {path}",
        "answers are logged again, 3 in all are missing",
    ]


def test_a_line_cut_short_spoils_no_other(tmp_path: Path) -> None:
    folder = tmp_path / ".cityforge" / "answers"
    code = (
        "import pathlib, resource, signal, sys\nfrom cityforge.inference.answers import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "log = AnswerLog(pathlib.Path(sys.argv[1]))\n"
        "def write(i): log.write(AnswerRow(i, sys.argv[2], 'tiny', 1, sys.argv[3], 1, 1.0))\n"
        "write('first'); size = next(pathlib.Path(sys.argv[1]).glob('*')).stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 150, resource.RLIM_INFINITY))\n"
        "write('cut'); write('lost')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))\n"
        "write('second'); print(log.lost)\n"
    )
    command = [sys.executable, "-c", code, str(folder), DAY, DIGEST]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout == "2\n"
    AnswerLog(folder).write(AnswerRow("third", DAY, "tiny", 1, DIGEST, 1, 1.0))
    path = folder / f"{DAY}.jsonl"
    assert len(path.read_bytes().splitlines()) == 4
    assert Answers(Project(tmp_path)).ids(DIGEST) == ["first", "second", "third"]
    with path.open("rb+") as stream:  # as after a power cut
        stream.truncate(path.stat().st_size - 1)
    AnswerLog(folder).write(AnswerRow("fourth", DAY, "tiny", 1, DIGEST, 1, 1.0))
    assert Answers(Project(tmp_path)).ids(DIGEST) == ["first", "second", "third", "fourth"]


def test_writing_is_quick_and_leaves_one_file_open(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path)
    before = open_files(tmp_path)
    took = []
    for number in range(500):
        begun = time.perf_counter()
        log.write(row(number, caller="runtime", bytes=80_000))
        took.append(time.perf_counter() - begun)
    assert sorted(took)[250] < 30e-6
    assert open_files(tmp_path) == before + 1
    log.close()
    assert open_files(tmp_path) == before


def test_without_a_folder_nothing_is_logged() -> None:
    log = AnswerLog(None)
    log.write(row())
    assert log.lost == 0
