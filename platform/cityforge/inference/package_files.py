"""The files of a package, read once into memory: data that is named here, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cityforge.errors import PackageError
from cityforge.trust.plain_file import read_plain
from cityforge.trust.signature import SIGNATURE_FILE

MODEL_FILE = "model.onnx"
INT8_FILE = "model.int8.onnx"
ABOUT_FILE = "package.json"
EVIDENCE_FILE = "evidence.json"
REQUIRED = (ABOUT_FILE, EVIDENCE_FILE, MODEL_FILE)

MIB = 1 << 20
# The largest file each may be; 2 GiB is also the most that ONNX in one file can hold.
MOST_BYTES = {
    MODEL_FILE: 2048 * MIB,
    INT8_FILE: 2048 * MIB,
    ABOUT_FILE: MIB,
    EVIDENCE_FILE: 256 * MIB,
    SIGNATURE_FILE: MIB,
}

# How files begin that run code when they are loaded, or hold files that do.
CODE_BEGINS = {
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"PK\x03\x04": "a zip archive, as .pt, .ckpt and .keras are",
    b"PK\x05\x06": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x89HDF": "an HDF5 file",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"#!": "a script",
}
CODE_NAMES = frozenset({"mlmodel", "conda.yaml", "python_env.yaml", "requirements.txt"})
CODE_ENDINGS = (
    *(".pkl", ".pickle", ".pk", ".p", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".dill", ".npy"),
    *(".npz", ".py", ".pyc", ".so", ".dll", ".h5", ".keras", ".pb", ".mar", ".sh"),
)


def read_files(folder: Path) -> dict[str, bytes]:
    """Every file of a package by name, each read once.

    Raises:
        PackageError: a file is missing, too large, a link, or no file of a package.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise PackageError("a package's folder", found=error.strerror or "none",
                           where=str(folder)) from error  # fmt: skip
    refuse_foreign(names, str(folder))
    for name in REQUIRED:
        if name not in names:
            raise PackageError("a package's file", found="no file", where=str(folder / name))
    return {name: _read(folder / name) for name in names}


def refuse_foreign(names: Iterable[str], where: str) -> None:
    """Refuse what is no file of a package, before anything of it is fetched or opened.

    Args:
        names: paths relative to the package's folder.

    Raises:
        PackageError: the first name that does not belong.
    """
    for name in names:
        if name in MOST_BYTES:
            continue
        last = name.rstrip("/").rpartition("/")[2].lower()
        code = last in CODE_NAMES or last.endswith(CODE_ENDINGS)
        raise PackageError(
            f"the files of a package ({', '.join(sorted(MOST_BYTES))})",
            found=f"'{name}'" + (", which can run code when it is loaded" if code else ""),
            where=where, do="models come in as ONNX and safetensors alone",
        )  # fmt: skip


def refuse_code(data: bytes, where: str) -> None:
    """Refuse data that begins as something which runs code when it is loaded.

    Raises:
        PackageError: it does.
    """
    for begin, what in CODE_BEGINS.items():
        if data.startswith(begin):
            raise PackageError("data, never code", found=what, where=where,
                               do="models come in as ONNX and safetensors alone")  # fmt: skip


def _read(path: Path) -> bytes:
    most = MOST_BYTES[path.name]
    try:
        data = read_plain(path, most)
    except ValueError as error:
        wanted = f"a package's file, of at most {most // MIB} MiB"
        raise PackageError(wanted, found=str(error), where=str(path)) from error
    refuse_code(data, str(path))
    return data
