"""Keys on disk: who may read them, what is refused, and that a signature is what it says."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from cityforge.errors import TrustError
from cityforge.settings import Settings
from cityforge.trust.keys import (
    is_signed_by,
    key_folder,
    key_id_of,
    new_key,
    open_key,
    public_pem,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(keys=str(tmp_path / "keys"))


def test_only_the_owner_reads_the_private_half(settings: Settings) -> None:
    signer = new_key(settings, "李雷")
    assert signer.path.stat().st_mode & 0o777 == 0o600
    assert signer.path.parent.stat().st_mode & 0o077 == 0
    public = key_folder(settings) / "李雷.pub.pem"
    assert public.read_text() == signer.public
    # The id by another way: DER is what stands between PEM's lines.
    der = base64.b64decode("".join(signer.public.splitlines()[1:-1]))
    assert signer.key_id == hashlib.sha256(der).hexdigest()[:16] == key_id_of(signer.public)
    signer.path.chmod(0o640)
    with pytest.raises(TrustError, match="only its owner may read"):
        open_key(settings, "李雷")


def test_a_key_is_never_written_over(settings: Settings) -> None:
    before = new_key(settings, "ann").key_id
    with pytest.raises(TrustError, match="no key of 'ann' yet"):
        new_key(settings, "ann")
    assert open_key(settings, "ann").key_id == before


def test_a_passphrase_locks_it(settings: Settings) -> None:
    locked = settings.model_copy(update={"key_passphrase": SecretStr("öffne dich")})
    signer = new_key(locked, "ann")
    assert b"ENCRYPTED" in signer.path.read_bytes()
    assert open_key(locked, "ann").key_id == signer.key_id
    for other in (settings, settings.model_copy(update={"key_passphrase": SecretStr("x")})):
        with pytest.raises(TrustError, match="CITYFORGE_KEY_PASSPHRASE"):
            open_key(other, "ann")


def test_a_lost_key_is_one_line_of_what_to_do(settings: Settings) -> None:
    with pytest.raises(TrustError, match="cityforge key new") as caught:
        open_key(settings, "ann")
    assert "revoke" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["", " ", "../ann", "a/b", ".ann"])
def test_a_name_must_be_a_files(settings: Settings, name: str) -> None:
    with pytest.raises(TrustError, match="a person's name"):
        new_key(settings, name)


def pem_of(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(rsa.generate_private_key(65537, 2048)),
        b"no key",
        b"",
    ],
)
def test_other_keys_are_refused(settings: Settings, content: bytes) -> None:
    path = new_key(settings, "ann").path
    path.write_bytes(content)
    with pytest.raises(TrustError, match=r"a private key and|P-256"):
        open_key(settings, "ann")


def test_another_curve_is_no_public_key() -> None:
    other = public_pem(ec.generate_private_key(ec.SECP384R1()).public_key())
    with pytest.raises(TrustError, match="P-256"):
        key_id_of(other)


def test_a_signature_is_ecdsa_and_is_of_the_key_and_the_data(settings: Settings) -> None:
    signer, other = new_key(settings, "ann"), new_key(settings, "tom")
    signature = signer.sign(b"data")
    # By the library alone.
    public = serialization.load_pem_public_key(signer.public.encode())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(base64.b64decode(signature), b"data", ec.ECDSA(hashes.SHA256()))
    assert is_signed_by(signer.public, b"data", signature)
    refused = [
        (other.public, b"data", signature),
        (signer.public, b"dat", signature),
        (signer.public, b"data", ""),
        (signer.public, b"data", signature + "\n"),
        (signer.public, b"data", "no base64"),
    ]
    assert [is_signed_by(*each) for each in refused] == [False] * len(refused)
