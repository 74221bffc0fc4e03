"""The certificate and key of https, looked at before an endpoint starts with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from cityforge.endpoint.tls import check_tls
from cityforge.errors import InputError

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
Make = Callable[..., tuple[Path, Path]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a certificate that signs itself, and its key; `days` from `NOW` on, both ways."""

    def write(name: str = "site", days: float = 30, key: Any = None, word: bytes = b"") -> Any:
        private = key or ec.generate_private_key(ec.SECP256R1())
        named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "forge.city")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(named).issuer_name(named).public_key(private.public_key())
            .serial_number(7)
            .not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=days))
            .sign(private, SHA256())
        )  # fmt: skip
        lock = form.BestAvailableEncryption(word) if word else form.NoEncryption()
        files = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(form.Encoding.PEM))
        files[1].write_bytes(
            private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)
        )
        files[1].chmod(0o600)
        return files

    return write


def refused(certificate: Path, key: Path, now: datetime = NOW) -> str:
    with pytest.raises(InputError) as caught:
        check_tls(certificate, key, now)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_pair_in_force_is_taken_and_says_until_when(make: Make) -> None:
    assert check_tls(*make(days=30), NOW) == NOW + timedelta(days=30)
    assert check_tls(*make(key=rsa.generate_private_key(65537, 2048)), NOW) > NOW


def test_a_chain_is_taken_and_its_first_is_the_endpoints_own(make: Make) -> None:
    own, key = make("own")
    above, _ = make("above")
    chain = own.read_bytes() + above.read_bytes()
    own.write_bytes(chain)
    assert check_tls(own, key, NOW) > NOW
    own.write_bytes(above.read_bytes() + chain)
    assert "the key of another" in refused(own, key)


def test_each_fault_is_told_in_one_line(make: Make, tmp_path: Path) -> None:
    certificate, key = make("site")
    other = make("other")[1]
    locked = make("locked", word=b"secret")
    text = tmp_path / "text"
    text.write_text("no PEM")
    text.chmod(0o600)
    cases = [
        ((tmp_path / "none", key), f"found No such file or directory, in {tmp_path / 'none'}"),
        ((certificate, tmp_path / "none"), "expected a private key (PEM), found No such file"),
        ((tmp_path, key), "Is a directory"),
        ((text, key), "expected a certificate (PEM), found something else"),
        ((certificate, text), "expected a private key (PEM), found something else"),
        ((key, key), "expected a certificate (PEM), found something else"),
        ((certificate, certificate), "expected a key that only its owner may read"),
        ((certificate, other), f"found the key of another, in {other}"),
        (locked, "found an encrypted one"),
    ]
    for (first, second), said in cases:
        assert said in refused(first, second)


def test_a_certificate_is_in_force_between_its_two_ends(make: Make) -> None:
    pair = make(days=2)
    assert "found one until 2030-05-03 12:00 UTC" in refused(*pair, NOW + timedelta(days=2))
    assert "found one from 2030-04-30 12:00 UTC on" in refused(*pair, NOW - timedelta(days=1.1))
    for days in (-1, 0, 1.999):
        assert check_tls(*pair, NOW + timedelta(days=days))


def test_a_key_that_others_may_read_is_refused(make: Make) -> None:
    certificate, key = make()
    for mode, fine in ((0o600, True), (0o400, True), (0o640, False), (0o604, False)):
        key.chmod(mode)
        if fine:
            assert check_tls(certificate, key, NOW)
        else:
            assert "chmod 600" in refused(certificate, key)


def test_a_key_that_tls_does_not_take_is_refused(make: Make) -> None:
    pair = make(key=rsa.generate_private_key(65537, 1024))
    assert "expected a certificate that TLS takes, found ee_key_too_small" in refused(*pair)
