"""Keys of people: elliptic curve P-256; the private half never leaves its owner's folder."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cityforge.errors import TrustError
from cityforge.settings import Settings

CURVE = "secp256r1"
PRIVATE, PUBLIC = ".pem", ".pub.pem"


@dataclass(frozen=True)
class Signer:
    """A person's key, unlocked."""

    name: str  # the person
    key_id: str  # first 16 of the sha256 of the public key (SubjectPublicKeyInfo, DER)
    public: str  # PEM
    private: Any  # cryptography's EllipticCurvePrivateKey
    path: Path

    def sign(self, data: bytes) -> str:
        """ECDSA with SHA-256: base64 of the DER."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        return base64.b64encode(self.private.sign(data, ECDSA(SHA256()))).decode()


def key_folder(settings: Settings) -> Path:
    """Where this person's keys lie: CITYFORGE_KEYS, or below the configuration of the login."""
    if settings.keys:
        return Path(settings.keys).expanduser()
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "cityforge" / "keys"


def new_key(settings: Settings, name: str) -> Signer:
    """Make a key pair for a person; the private half is encrypted when a passphrase is set.

    Raises:
        TrustError: the name is no file's name, or has a key already.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    path = _path(settings, name)
    if path.exists():
        raise TrustError(
            f"no key of '{name}' yet", found="one", where=str(path),
            do="use it, or name another person",
        )  # fmt: skip
    private = ec.generate_private_key(ec.SECP256R1())
    word = settings.key_passphrase.get_secret_value().encode()
    lock = form.BestAvailableEncryption(word) if word else form.NoEncryption()
    pem = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(path.with_name(f"{name}{PUBLIC}"), public_pem(private.public_key()).encode(), 0o644)
    _write(path, pem, 0o600)
    return open_key(settings, name)


def open_key(settings: Settings, name: str) -> Signer:
    """A person's key from this machine.

    Raises:
        TrustError: there is none, it cannot be unlocked, or others may read it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    path = _path(settings, name)
    if not path.is_file():
        raise TrustError(
            f"the private key of '{name}'", found="none", where=str(path),
            do="name who has one with --by; or cityforge key new, which an admin trusts. If it was "
            "lost, an admin also runs cityforge key revoke",
        )  # fmt: skip
    if path.stat().st_mode & 0o077:
        raise TrustError("a key that only its owner may read", found="one that others may",
                         where=str(path), do=f"chmod 600 '{path}'")  # fmt: skip
    word = settings.key_passphrase.get_secret_value().encode() or None
    try:
        private = form.load_pem_private_key(path.read_bytes(), word)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TrustError(
            "a private key and its passphrase", found=str(error).splitlines()[0],
            where=str(path), do="set CITYFORGE_KEY_PASSPHRASE",
        ) from error  # fmt: skip
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != CURVE:
        raise TrustError("a key on the curve P-256", found="another", where=str(path))
    public = public_pem(private.public_key())
    return Signer(name, key_id_of(public), public, private, path)


def has_key(settings: Settings, name: str) -> bool:
    """Whether this machine holds a person's private key."""
    return _path(settings, name).is_file()


def public_pem(public: Any) -> str:
    """A public key as PEM."""
    from cryptography.hazmat.primitives import serialization as form

    raw: bytes = public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    return raw.decode()


def key_id_of(pem: str) -> str:
    """First 16 of the sha256 of a public key.

    Raises:
        TrustError: no public key on the curve P-256.
    """
    from cryptography.hazmat.primitives import serialization as form

    raw: bytes = _public(pem).public_bytes(
        form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(raw).hexdigest()[:16]


def is_signed_by(pem: str, data: bytes, signature: str) -> bool:
    """Whether a signature (base64 of the DER) over `data` is of this key, written in one way."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        raw = base64.b64decode(signature, validate=True)
        if base64.b64encode(raw).decode() != signature:
            return False
        _public(pem).verify(raw, data, ECDSA(SHA256()))
    except (ValueError, InvalidSignature):
        return False
    return True


@lru_cache(maxsize=1024)
def _public(pem: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        public = form.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError("a public key (PEM)", found=str(error).splitlines()[0]) from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != CURVE:
        raise TrustError("a public key on the curve P-256", found="another kind")
    return public


def _path(settings: Settings, name: str) -> Path:
    if not name.strip() or name != Path(name).name or name.startswith("."):
        raise TrustError("a person's name, which can be a file's", found=f"'{name}'")
    return key_folder(settings) / f"{name}{PRIVATE}"


def _write(path: Path, data: bytes, mode: int) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)
