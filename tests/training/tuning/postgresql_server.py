"""A PostgreSQL server of the tests' own, as Debian installs it."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

USER, PASSWORD = "tuner", "s3cret@{x}:/w"
ENCODED = "s3cret%40%7Bx%7D%3A%2Fw"


def programs() -> Path | None:
    """Where Debian keeps the server's programs, the newest version first."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    return folders[-1] if folders else None


def as_other_user() -> list[str]:
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return []
    names = {each.pw_name for each in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    group = str(pwd.getpwnam(user).pw_gid)
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


class Server:
    """PostgreSQL with its data in a folder of its own, in a time zone that is not UTC."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="cityforge-pg-"))
        self._user = as_other_user()
        if self._user:
            name = self._user[1].partition("=")[2]
            shutil.chown(self.folder, name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (self.folder / "password").write_text(PASSWORD, encoding="utf-8")
        (self.folder / "password").chmod(0o644)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", USER, "--auth=scram-sha-256",
                  f"--pwfile={self.folder / 'password'}", "--encoding=UTF8", "--locale=C",
                  "--no-sync")  # fmt: skip

    def encrypt(self) -> Path:
        """Ask for TLS of everyone from the next start on; its certificate, signed by itself."""
        certificate, key = self_signed("localhost")
        for name, content in (("server.crt", certificate), ("server.key", key)):
            path = self.folder / name
            path.write_bytes(content)
            path.chmod(0o600 if name == "server.key" else 0o644)
            if self._user:
                shutil.chown(path, self._user[1].partition("=")[2])
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text(re.sub(r"(?m)^host\b", "hostssl", rules.read_text("utf-8")), "utf-8")
        with (self.folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(f"ssl = on\nssl_cert_file = '{self.folder / 'server.crt'}'\n")
            settings.write(f"ssl_key_file = '{self.folder / 'server.key'}'\n")
        return self.folder / "server.crt"

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off "
            f"-c unix_socket_directories={self.folder} -c timezone=Asia/Shanghai"
        )
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "60", "-o", options,
                  "-l", str(self.folder / "log"), "start")  # fmt: skip

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "fast", "-w", "stop")

    def new_database(self, name: str) -> str:
        """Its address, with the password in it."""
        self._run("createdb", "-h", str(self.folder), "-p", str(self.port), "-U", USER, name)
        return f"postgresql://{USER}:{ENCODED}@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [*self._user, str(self._binaries / program), *words],
            cwd=self.folder, env={"PGPASSWORD": PASSWORD, "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=120, close_fds=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stdout}"


def self_signed(host: str) -> tuple[bytes, bytes]:
    """A certificate for this name alone, which is its own authority, and its key; both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(host)])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    return (
        signed.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(*kinds, serialization.NoEncryption()),
    )


def running_server(*, encrypted: bool = False) -> Iterator[Server]:
    """A running server; without Debian's package the test is skipped, and fails in CI."""
    binaries = programs()
    if binaries is None:
        if os.environ.get("CI"):
            pytest.fail("no PostgreSQL: apt-get install postgresql")
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    server = Server(binaries)
    if encrypted:
        server.encrypt()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder)
