"""The certificate and key that an endpoint answers https with, looked at before it starts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cityforge.errors import InputError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def check_tls(certificate: Path, key: Path, now: datetime | None = None) -> datetime:
    """When the certificate ends (UTC), after all that would fail later was looked at.

    Args:
        certificate: PEM; the endpoint's own first, then those between it and the root.
        key: PEM, not encrypted; only its owner may read it.

    Raises:
        InputError: a file is missing or is something else, the key is of another certificate,
            others may read it, or the certificate is not in force.
    """
    import ssl

    found = _certificate(certificate)
    private = _key(key)
    if found.public_key() != private.public_key():
        raise InputError(
            f"the key of the certificate {certificate}", found="the key of another", where=str(key)
        )
    end = _in_force(found, certificate, now or datetime.now(UTC))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise InputError(
            "a certificate that TLS takes", found=str(reason).lower(), where=str(certificate)
        ) from error
    return end


def _in_force(found: Certificate, path: Path, now: datetime) -> datetime:
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    if now < begin:
        raise InputError("a certificate in force", found=f"one from {begin:%Y-%m-%d %H:%M} UTC on",
                         where=str(path), do="wait, or set this machine's clock")  # fmt: skip
    if now >= end:
        raise InputError("a certificate in force", found=f"one until {end:%Y-%m-%d %H:%M} UTC",
                         where=str(path), do="have it renewed")  # fmt: skip
    return end


def _certificate(path: Path) -> Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(_read(path, "a certificate (PEM)"))[0]
    except (ValueError, TypeError) as error:
        raise InputError("a certificate (PEM)", found="something else", where=str(path)) from error


def _key(path: Path) -> Any:
    """The private key of a file: one of cryptography's."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = _read(path, "a private key (PEM)")
    if path.stat().st_mode & 0o077:
        raise InputError("a key that only its owner may read", found="one that others may",
                         where=str(path), do=f"chmod 600 '{path}'")  # fmt: skip
    try:
        return load_pem_private_key(text, None)
    except TypeError as error:
        raise InputError(
            "a key without a passphrase, as a service that starts alone needs it",
            found="an encrypted one", where=str(path), do="openssl pkey -in KEY -out PLAIN",
        ) from error  # fmt: skip
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError("a private key (PEM)", found="something else", where=str(path)) from error


def _read(path: Path, expected: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(expected, found=error.strerror or "none", where=str(path)) from error
