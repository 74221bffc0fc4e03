"""Only data comes in: named files, of a stated size, read once, and never code."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from cityforge.errors import PackageError
from cityforge.inference import package_files
from cityforge.inference.package import INT8_FILE, MODEL_FILE, open_package, package_digest
from cityforge.inference.package_files import (
    ABOUT_FILE,
    EVIDENCE_FILE,
    MOST_BYTES,
    read_files,
    refuse_code,
    refuse_foreign,
)

Make = Callable[..., Path]


@pytest.fixture
def package(make_package: Make, tmp_path: Path) -> Path:
    return make_package(tmp_path / "package", "tiny", None)


def refused(folder: Path) -> str:
    with pytest.raises(PackageError) as caught:
        open_package(folder)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["MLmodel", "python_model.pkl", "model.pt", "last.ckpt", "model.bin", "conda.yaml", "code.py"],
)
def test_files_that_can_run_code_are_refused_by_name(package: Path, name: str) -> None:
    (package / name).write_bytes(b"{}")
    assert f"'{name}', which can run code when it is loaded" in refused(package)


@pytest.mark.parametrize("name", ["notes.txt", ".DS_Store", "model.onnx.data", "MODEL.ONNX"])
def test_files_that_do_not_belong_are_refused(package: Path, name: str) -> None:
    (package / name).write_bytes(b"x")
    assert f"found '{name}', in" in refused(package)


def test_folders_links_and_pipes_are_refused(package: Path, tmp_path: Path) -> None:
    (package / "data").mkdir()
    assert "found 'data'" in refused(package)
    (package / "data").rmdir()
    path = package / EVIDENCE_FILE
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert "a symbolic link" in refused(package)
    path.unlink()
    os.mkfifo(path)
    assert "no plain file" in refused(package)
    path.unlink()
    path.mkdir()
    assert "expected a package's file" in refused(package)
    path.rmdir()
    assert "no file" in refused(package)
    assert "a package's folder" in refused(tmp_path / "none")


def torch_file() -> bytes:
    """As torch and Lightning write .pt and .ckpt: a zip archive around a pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (pickle.dumps({"a": 1}, protocol=2), "a pickle"),
        (pickle.dumps({"a": 1}, protocol=4), "a pickle"),
        (pickle.dumps(np.zeros(3), protocol=5), "a pickle"),
        (torch_file(), "a zip archive"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x7fELF\x02", "a program"),
        (b"#!/bin/sh\n", "a script"),
    ],
)
@pytest.mark.parametrize("name", [MODEL_FILE, ABOUT_FILE, EVIDENCE_FILE])
def test_code_under_another_name_is_told_by_how_it_begins(
    package: Path, name: str, data: bytes, said: str
) -> None:
    (package / name).write_bytes(data)
    assert f"expected data, never code, found {said}" in refused(package)


def test_an_older_pickle_has_no_beginning_of_its_own_and_is_no_model(package: Path) -> None:
    data = pickle.dumps({"a": 1}, protocol=0)
    refuse_code(data, "x")
    about = json.loads((package / ABOUT_FILE).read_text())
    (package / MODEL_FILE).write_bytes(data)
    (package / ABOUT_FILE).write_text(
        json.dumps({**about, "model_digest": sha256(data).hexdigest()})
    )
    assert "what is no ONNX" in refused(package)


def test_a_file_that_is_too_large_is_not_read(package: Path) -> None:
    assert MOST_BYTES[MODEL_FILE] == 2 << 30
    with (package / MODEL_FILE).open("wb") as stream:
        stream.truncate((2 << 30) + 1)  # takes no disk
    assert "found more than 2048 MiB" in refused(package)


def test_the_limit_itself_is_let_in(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (package / ABOUT_FILE).stat().st_size
    monkeypatch.setitem(package_files.MOST_BYTES, ABOUT_FILE, size)
    open_package(package)
    monkeypatch.setitem(package_files.MOST_BYTES, ABOUT_FILE, size - 1)
    assert "package.json" in refused(package)


@pytest.mark.parametrize(
    "data", ["[" * 100_000, '{"a":' * 50_000, "9" * 100_000, '"' + "x" * 2**19]
)
def test_json_that_is_a_bomb_is_one_line(package: Path, data: str) -> None:
    (package / ABOUT_FILE).write_text(data)
    assert ABOUT_FILE in refused(package)


def test_names_are_refused_before_anything_is_fetched() -> None:
    refuse_foreign([MODEL_FILE, INT8_FILE, ABOUT_FILE, EVIDENCE_FILE, "model.sig"], "there")
    for name in ("a/model.onnx", "../model.onnx", "MLmodel", "artifacts/python_model.pkl"):
        with pytest.raises(PackageError, match="there"):
            refuse_foreign([MODEL_FILE, name], "there")


def test_each_file_is_read_once(package: Path) -> None:
    """A pipe can be read once only: what is hashed is what is loaded."""
    opened = open_package(package)
    before = {path.name: path.read_bytes() for path in package.iterdir()}
    assert dict(opened.files) == before == read_files(package)
    assert opened.model is opened.files[MODEL_FILE]
    assert sha256(opened.model).hexdigest() == opened.about.model_digest


def test_evidence_is_held_against_its_digest(package: Path) -> None:
    path = package / EVIDENCE_FILE
    path.write_bytes(path.read_bytes() + b" ")
    assert f"{EVIDENCE_FILE}: the file was changed" in refused(package)


def quantised(package: Path, digest: str | None) -> bytes:
    data = (package / MODEL_FILE).read_bytes()
    (package / INT8_FILE).write_bytes(data)
    about = json.loads((package / ABOUT_FILE).read_text())
    said = {} if digest is None else {"int8_digest": digest}
    (package / ABOUT_FILE).write_text(json.dumps(about | said))
    return data


def test_a_quantised_model_is_part_of_the_package(package: Path) -> None:
    without = package_digest(package)
    data = quantised(package, sha256((package / MODEL_FILE).read_bytes()).hexdigest())
    opened = open_package(package)
    assert opened.int8 == data
    assert opened.digest != without
    (package / INT8_FILE).unlink()
    assert "found no file" in refused(package)


def test_a_quantised_model_that_nobody_names_is_refused(package: Path) -> None:
    quantised(package, None)
    assert "as it says" in refused(package)
    quantised(package, "0" * 64)
    assert "a file with digest 0000" in refused(package)


def test_the_signature_is_no_part_of_the_digest(package: Path) -> None:
    before = package_digest(package)
    (package / "model.sig").write_bytes(b"{}")
    assert package_digest(package) == before == open_package(package).digest
