"""Verifies and runs a bundle where there is no project and no network.

python -m cityforge.endpoint.bundled verify|run FILE

Needs what the endpoint needs, and neither MLflow nor DVC nor torch; `bundle_start.py` calls it in
the environment that it makes, and `cityforge bundle` in the one it stands in.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cityforge.endpoint.bundle_checks import Verified, check_folder, lines_of, verify
from cityforge.endpoint.bundle_file import read_manifest, unpack
from cityforge.endpoint.bundle_list import MANIFEST, Manifest, refuse_changed
from cityforge.endpoint.bundle_state import STATE, named_places, places
from cityforge.endpoint.pins import installed_otherwise, read_pins
from cityforge.errors import InputError, PackageError, ServiceError, line_of
from cityforge.inference.served import PACKAGE

SUFFIX = ".cityforge.tar"
# Below the folder that a bundle runs in.
UNPACKED, SERVED, CODE = "bundle", "served", "code"
RELEASE, SERVICE, BENTO, WHEELS = "release.json", "service", "bento", "wheels"  # in a bundle
WHAT_STAYS = (
    "Tokens, answers and feedback are kept in state/ below the folder, which no start empties; "
    "camera cards are read from cameras/ beside it. CITYFORGE_FEEDBACK, _ANSWERS, _CAMERAS and so "
    "on name other places; a relative one is below the current folder."
)
FIRST_TOKEN = "first"
EVERYWHERE = ("0.0.0.0", "::")  # addresses to listen on that no caller names
Say = Callable[[str], None]


@dataclass(frozen=True)
class Where:
    """Where a bundle is to answer."""

    host: str = "127.0.0.1"
    port: int = 3000
    hosts: str = ""  # names, by commas, that callers know this machine by
    tls_cert: Path | None = None  # PEM
    tls_key: Path | None = None

    @property
    def address(self) -> str:
        """As a person calls it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"


def prepare(archive: Path, folder: Path, key: str, say: Say) -> Verified:
    """Unpack a bundle below a folder, or find it there as it was unpacked; check all of it."""
    manifest, unpacked = read_manifest(archive), folder / UNPACKED
    if unpacked.is_dir():
        _refuse_another(unpacked, manifest)
        refuse_changed(unpacked, {each.name: each for each in manifest.files})
        say(f"unpacked already in {folder}")
    else:
        _sweep(folder)
        beside = folder / f".{UNPACKED}.{os.getpid()}"
        beside.mkdir(parents=True)
        try:
            unpack(archive, beside)
            beside.replace(unpacked)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return check_folder(unpacked, manifest, key)


def assemble(folder: Path) -> Path:
    """The Bento of an unpacked bundle, made anew from its files; its folder."""
    unpacked, served = folder / UNPACKED, folder / SERVED
    shutil.rmtree(served, ignore_errors=True)
    shutil.copytree(unpacked / BENTO, served)
    shutil.copytree(unpacked / SERVICE, served / "src")
    shutil.copytree(unpacked / PACKAGE, served / "src" / PACKAGE)
    shutil.copyfile(unpacked / RELEASE, served / "src" / RELEASE)
    wheels = served / "env" / "python" / WHEELS
    wheels.mkdir(parents=True)
    for each in (unpacked / WHEELS).glob("cityforge-*.whl"):
        shutil.copyfile(each, wheels / each.name)
    return served


def unpack_code(folder: Path) -> Path:
    """The code of cityforge that the bundle's service was built with; its folder.

    What is installed here may be another one, and has checked this one's digest.
    """
    code = folder / CODE
    shutil.rmtree(code, ignore_errors=True)
    (wheel,) = (folder / UNPACKED / WHEELS).glob("cityforge-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(code)
    return code


def environment(folder: Path, where: Where, given: Mapping[str, str], say: Say) -> dict[str, str]:
    """The endpoint's environment: the bundle's code; closed, but for the tokens of this folder.

    Args:
        given: the caller's; its paths are below the current folder.

    Raises:
        InputError: a place in it that would not stay; see `named_places`.
    """
    from cityforge.settings import QUIET_SWITCHES

    named = named_places(folder, given, [folder / each for each in (UNPACKED, SERVED, CODE)])
    found = {**QUIET_SWITCHES, **given, **named}
    tokens = places(folder)["tokens"]
    if named["CITYFORGE_TOKENS"] == str(tokens) and not tokens.exists():
        say(_first_token(tokens))
    own = "" if where.host in EVERYWHERE else where.host
    names = [where.hosts, found.get("CITYFORGE_HOSTS", ""), own]
    found["CITYFORGE_HOSTS"] = ",".join(filter(None, names))
    found["PYTHONPATH"] = str(folder / CODE)
    found["BENTOML_HOME"] = str(folder / STATE / "bentoml")
    (folder / STATE / "bentoml").mkdir(parents=True, exist_ok=True)
    return found


def command(served: Path, where: Where) -> list[str]:
    """The process that serves an assembled bundle."""
    said = ["--host", where.host, "--port", str(where.port)]
    if where.tls_cert and where.tls_key:
        said += ["--ssl-certfile", str(where.tls_cert), "--ssl-keyfile", str(where.tls_key)]
    return [sys.executable, "-m", "cityforge.endpoint.bento", "serve", str(served), *said]


def _first_token(path: Path) -> str:
    from cityforge.endpoint.token_file import SCOPES, new_token

    _, secret = new_token(path, FIRST_TOKEN, SCOPES, rate=50, burst=100, days=365)
    return (
        f"the first token, shown this once; it may do everything for a year:\n{secret}\n"
        f"kept as a hash in {path}"
    )


def run(archive: Path, folder: Path, where: Where, key: str, say: Say) -> None:
    """Check a bundle and become the process that serves it; see `prepare`.

    Raises:
        PackageError, TrustError: see `verify`.
        ServiceError: the port is taken.
        InputError: a certificate that TLS cannot be spoken with, or a place that would not stay.
    """
    _refuse_unfit(where)
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    for line in lines_of(prepare(archive, folder, key, say)):
        say(line)
    others = installed_otherwise(read_pins(folder / UNPACKED / SERVICE / "requirements.txt"))
    if others:
        say(f"installed here in other versions than locked: {', '.join(others)}")
    surroundings = environment(folder, where, os.environ, say)
    served = assemble(folder)
    unpack_code(folder)
    answers, feedback, cameras = (
        surroundings[f"CITYFORGE_{each}"] for each in ("ANSWERS", "FEEDBACK", "CAMERAS")
    )
    say(f"answers go to {answers}, feedback to {feedback}; camera cards are read from {cameras}")
    say(f"serving at {where.address}")
    os.chdir(served)
    os.execve(sys.executable, command(served, where), surroundings)


def folder_for(archive: Path) -> Path:
    """Where a bundle runs when nothing is said: below the current folder, named as it is."""
    name = archive.name.removesuffix(SUFFIX)
    return Path(name if name != archive.name else f"{archive.stem}-unpacked")


def _whole(path: Path | None) -> Path | None:
    """A path that holds when the current folder is another."""
    return path.resolve() if path else None


def _refuse_another(unpacked: Path, manifest: Manifest) -> None:
    kept = unpacked / MANIFEST
    if not kept.is_file() or kept.read_bytes() != manifest.to_bytes():
        raise PackageError(
            "a folder that holds this bundle or none", found="another one",
            where=str(unpacked), do="name another with --folder",
        )  # fmt: skip


def _sweep(folder: Path) -> None:
    """Remove what was half unpacked by a process that is gone."""
    for left in folder.glob(f".{UNPACKED}.*"):
        if not Path("/proc", left.suffix[1:]).exists():
            shutil.rmtree(left, ignore_errors=True)


def _refuse_unfit(where: Where) -> None:
    from cityforge.endpoint.tls import check_tls

    if (where.tls_cert is None) != (where.tls_key is None):
        raise InputError("both --tls-cert and --tls-key, or neither", found="one of them")
    if where.tls_cert and where.tls_key:
        check_tls(where.tls_cert, where.tls_key)
    _refuse_used_port(where.host, where.port)


def _refuse_used_port(host: str, port: int) -> None:
    import socket

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServiceError(f"port {port} of {host} free", found=error.strerror or "in use",
                               do="choose another with --port") from error  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cityforge bundle", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("verify", "run"):
        each = verbs.add_parser(verb)
        each.add_argument("file", type=Path)
        each.add_argument("--key", default="", help="id or file of a key you know")
    verbs.choices["verify"].add_argument("--json", action="store_true")
    verbs.choices["run"].epilog = WHAT_STAYS
    verbs.choices["run"].add_argument("--folder", type=Path)
    verbs.choices["run"].add_argument("--host", default="127.0.0.1")
    verbs.choices["run"].add_argument("--port", type=int, default=3000)
    verbs.choices["run"].add_argument("--hosts", default="", help="names callers know it by")
    verbs.choices["run"].add_argument("--tls-cert", type=Path)
    verbs.choices["run"].add_argument("--tls-key", type=Path)
    return parser


def main(words: Sequence[str]) -> int:
    """Verify or run a bundle; a foreseen failure is one line on stderr and 1."""
    asked = _parser().parse_args(words)

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    try:
        if asked.verb == "run":
            where = Where(asked.host, asked.port, asked.hosts, _whole(asked.tls_cert),
                          _whole(asked.tls_key))  # fmt: skip
            run(asked.file, asked.folder or folder_for(asked.file), where, asked.key, say)
        verified = verify(asked.file, asked.key)
    except Exception as error:
        line = line_of(error)
        if line is None:
            raise
        say(line)
        return 1
    text = json.dumps(verified.told(), ensure_ascii=False, indent=1) if asked.json else None
    sys.stdout.write((text or "\n".join(lines_of(verified))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
