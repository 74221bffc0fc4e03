"""Verifies and runs a bundle on a machine that has Python and nothing else.

    tar xf FILE bundle_start.py
    python3 bundle_start.py verify|run FILE [--folder FOLDER] [--sha256 HEX]

All other options are those of `cityforge bundle`. Tokens, answers and feedback are kept in
FOLDER/state, which no start empties; camera cards are read from FOLDER/cameras.

It needs the standard library alone, and no network where the bundle holds its wheels. It holds
what it installs against the bundle's list (digests); that the list is signed by somebody whom the
site trusts is checked by what it has installed, before anything is served.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

SUFFIX, MANIFEST, SIGNATURE = ".cityforge.tar", "manifest.json", "manifest.sig"
BLOCK = tarfile.BLOCKSIZE
MOST_MANIFEST, MOST_SIGNATURE = 4 << 20, 1 << 10  # bytes
PIECE = 1 << 20
REQUIREMENTS = "service/requirements.txt"
DO = "fetch the bundle again"


class Refused(Exception):
    """One line for a person: expected, found, where, what to do."""

    def __init__(self, expected: str, found: str, where: object = "", do: str = "") -> None:
        parts = [f"expected {expected}", f"found {found}", *([f"in {where}"] if where else [])]
        super().__init__(", ".join(parts) + (f": {do}" if do else ""))


def say(line: str) -> None:
    """Tell a person."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def read_list(stream: IO[bytes], path: Path) -> dict[str, Any]:
    """The list that a bundle begins with; its signature is not looked at here."""
    text = _next(stream, MANIFEST, MOST_MANIFEST, path)
    _next(stream, SIGNATURE, MOST_SIGNATURE, path)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Refused("a bundle's list", str(error), path, DO) from error
    if not isinstance(found, dict) or found.get("format") != "cityforge.bundle/1":
        raise Refused("a list of format cityforge.bundle/1", "another", path, DO)
    found["digest"] = hashlib.sha256(text).hexdigest()
    return found


def take(stream: IO[bytes], listed: Sequence[dict[str, Any]], path: Path, out: Path) -> None:
    """Hold every file against the list; keep wheels and requirements, by their last name."""
    for each in listed:
        _refuse_other(stream.read(BLOCK), each["name"], each["size"], path)
        kept = each["name"] == REQUIREMENTS or each["name"].startswith("wheels/")
        digest, left = hashlib.sha256(), each["size"]
        with (out / each["name"].rpartition("/")[2] if kept else Path(os.devnull)).open("wb") as to:
            while left:
                piece = stream.read(min(PIECE, left))
                if not piece:
                    raise Refused("a whole bundle", "one that was cut off", path, DO)
                digest.update(piece)
                to.write(piece)
                left -= len(piece)
        stream.read(-each["size"] % BLOCK)
        if digest.hexdigest() != each["sha256"]:
            found = f"{digest.hexdigest()[:16]}…"
            raise Refused(f"'{each['name']}' with digest {each['sha256'][:16]}…", found, path, DO)


def make_environment(archive: Path, folder: Path) -> Path:
    """Install a bundle's wheels below `folder`, once; the Python that has them."""
    made = folder / "venv"
    python, ready = made / "bin" / "python", made / ".ready"
    with archive.open("rb") as stream:
        about = read_list(stream, archive)
        if ready.is_file() and ready.read_text(encoding="utf-8") == about["digest"]:
            return python
        _refuse_other_machine(about)
        shutil.rmtree(made, ignore_errors=True)
        wheels = folder / ".wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        wheels.mkdir(parents=True)
        take(stream, about["files"], archive, wheels)
    say(f"{len(about['files'])} files as they are listed; installing below {made}")
    try:
        _install(about, wheels, made)
    finally:
        shutil.rmtree(wheels, ignore_errors=True)
    ready.write_text(about["digest"], encoding="utf-8")
    return python


def _install(about: dict[str, Any], wheels: Path, made: Path) -> None:
    digests = {
        each["name"].rpartition("/")[2]: each["sha256"]
        for each in about["files"]
        if each["name"].startswith("wheels/")
    }
    pip = next((each for each in digests if each.startswith("pip-")), None)
    venv.EnvBuilder(with_pip=pip is None, symlinks=True).create(made)
    lines = [
        "==".join(name.split("-")[:2]) + f" --hash=sha256:{digest}"
        for name, digest in sorted(digests.items())
        if name != pip
    ]
    listed = wheels / "listed.txt"
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    python = made / "bin" / "python"
    base = [str(python), "-I", "-m", "pip"]
    if pip is not None:  # a wheel of pip is a program, too
        base = [str(python), "-I", str(wheels / pip / "pip")]
    offline = ["--no-index", "--find-links", str(wheels), "--require-hashes", "-r", str(listed)]
    if about["wheels"]:
        _pip(base, offline)
        return
    say("the bundle was built without wheels: they are fetched from your package registry")
    _pip(base, ["-r", str(wheels / "requirements.txt")])
    _pip(base, offline)


def _pip(base: list[str], words: list[str]) -> None:
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    environment = {**os.environ, "PIP_NO_CACHE_DIR": "1"}
    done = subprocess.run(
        [*base, "install", *quiet, *words], env=environment, capture_output=True, text=True,
        errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Refused("pip to install", (errors or ["silence"])[-1][:300], do=DO)


def _refuse_other_machine(about: dict[str, Any]) -> None:
    here = sysconfig.get_platform()
    if about["wheels"] and here != about["platform"]:
        raise Refused(
            f"a machine of {about['platform']}", here, do="build the bundle on one as this"
        )


def right_python(archive: Path) -> str:
    """This Python, or the one of the machine that the wheels are for.

    Raises:
        Refused: there is none.
    """
    with archive.open("rb") as stream:
        wanted = str(read_list(stream, archive)["python"])
    here = ".".join(map(str, sys.version_info[:2]))
    if here == wanted:
        return sys.executable
    other = shutil.which(f"python{wanted}")
    if other is None:
        raise Refused(f"Python {wanted}", here, do=f"install it, or call it by python{wanted}")
    return other


def _next(stream: IO[bytes], name: str, most: int, path: Path) -> bytes:
    block = stream.read(BLOCK)
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    except tarfile.HeaderError as error:
        raise Refused("a bundle", f"no tar file ({error})", path, DO) from error
    if info.size > most:
        raise Refused(f"a bundle, which begins with {MANIFEST}", f"'{info.name}'", path, DO)
    _refuse_other(block, name, info.size, path)
    data = stream.read(info.size)
    stream.read(-info.size % BLOCK)
    return data


def _refuse_other(block: bytes, name: str, size: int, path: Path) -> None:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    except tarfile.HeaderError as error:
        raise Refused(f"'{name}'", f"no tar file ({error})", path, DO) from error
    if (info.name, info.size, info.type) != (name, size, tarfile.REGTYPE):
        raise Refused(f"the plain file '{name}'", f"'{info.name}' of another kind", path, DO)


def _refuse_other_digest(archive: Path, wanted: str) -> None:
    with archive.open("rb") as stream:
        found = hashlib.sha256()
        while piece := stream.read(PIECE):
            found.update(piece)
    if found.hexdigest() != wanted.lower():
        raise Refused(f"a bundle with sha256 {wanted[:16]}…", f"{found.hexdigest()[:16]}…", archive)


def main(words: list[str]) -> None:
    """Make the environment, then become `cityforge.endpoint.bundled` within it."""
    about = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(description=about[0], epilog="".join(about[2:3]))
    parser.add_argument("verb", choices=("verify", "run"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--folder", type=Path, help="by default below this one, as FILE is named")
    parser.add_argument("--sha256", help="of the whole archive, as the site told you")
    asked, rest = parser.parse_known_args(words)
    name = asked.file.name
    folder = asked.folder or Path(
        name.removesuffix(SUFFIX) if name.endswith(SUFFIX) else f"{name}.d"
    )
    try:
        if asked.sha256:
            _refuse_other_digest(asked.file, asked.sha256)
        python = right_python(asked.file)
        if python != sys.executable:
            os.execv(python, [python, os.path.abspath(__file__), *words])  # noqa: PTH100
        folder.mkdir(parents=True, exist_ok=True)
        inside = str(make_environment(asked.file, folder.resolve()))
    except (Refused, OSError) as error:
        say(str(error))
        sys.exit(1)
    where = ["--folder", str(folder)] if asked.verb == "run" else []
    command = [inside, "-I", "-m", "cityforge.endpoint.bundled", asked.verb, str(asked.file)]
    os.execv(inside, [*command, *where, *rest])


if __name__ == "__main__":
    main(sys.argv[1:])
