"""The signature over a package's files: OpenSSF model signing, elliptic-curve key, offline.

The library signs. What is signed is checked here over bytes in memory, with `cryptography` alone:
the library reads the files a second time, lets a hard link pass, also believes an older, broken
way of signing, and an endpoint would have to carry all of Sigstore for it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cityforge.errors import PackageError, TrustError
from cityforge.settings import Settings
from cityforge.trust.keys import Signer, is_signed_by
from cityforge.trust.plain_file import read_plain

SIGNATURE_FILE = "model.sig"
MOST_BYTES = 1 << 20
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"


def sign_package(folder: Path, signer: Signer, settings: Settings) -> str:
    """Sign every file of a package; `model.sig` is written into it, whole or not at all.

    Returns:
        sha256 of `model.sig`.

    Raises:
        PackageError: the files cannot be read or signed.
    """
    from model_signing import hashing, signing

    path = folder / SIGNATURE_FILE
    word = settings.key_passphrase.get_secret_value() or None
    left_out: Any = hashing.Config()
    left_out.set_ignored_paths(paths=[path])
    with tempfile.TemporaryDirectory(prefix="cityforge-sign-") as scratch:
        made = Path(scratch) / SIGNATURE_FILE
        config: Any = signing.Config()
        config.use_elliptic_key_signer(private_key=signer.path, password=word)
        try:
            config.set_hashing_config(left_out).sign(folder, made)
        except (ValueError, OSError) as error:
            raise PackageError("files that can be signed", found=str(error).splitlines()[0],
                               where=str(folder)) from error  # fmt: skip
        data = made.read_bytes()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return hashlib.sha256(data).hexdigest()


def refuse_unsigned(folder: Path, public: str, loaded: Mapping[str, bytes]) -> str:
    """Refuse a package that is not signed by this key, or not as it was signed.

    The bytes in memory are held against what was signed, so that what is run is what was checked.

    Args:
        folder: where they were read, for the words of an error.
        public: PEM of the key.
        loaded: the package's files by name, as they were read; without `model.sig`, that file is
            read here.

    Returns:
        sha256 of `model.sig`.

    Raises:
        PackageError: unsigned, signed by another key, or a file changed, missing or added.
    """
    signed = _signature(folder, loaded)
    where = str(folder / SIGNATURE_FILE)
    stated = _stated(signed, public, where)
    found = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in loaded.items()
        if name != SIGNATURE_FILE
    }
    if stated != found:
        apart = sorted({*stated.items()} ^ {*found.items()})[0][0]
        raise _not_as_signed(f"'{apart}' is not the file that was signed", str(folder))
    return hashlib.sha256(signed).hexdigest()


def _signature(folder: Path, loaded: Mapping[str, bytes]) -> bytes:
    path = folder / SIGNATURE_FILE
    if SIGNATURE_FILE in loaded:
        return loaded[SIGNATURE_FILE]
    try:
        return read_plain(path, MOST_BYTES)
    except ValueError as error:
        raise PackageError(
            "a signed package", found=f"no {SIGNATURE_FILE}: {error}", where=str(folder),
            do="cityforge run registers and signs it",
        ) from error  # fmt: skip


def _stated(signed: bytes, public: str, where: str) -> dict[str, str]:
    """Names and sha256 of the files that a signature is over, after the key was checked.

    Source: DSSE 1.0 (what the signature is over), in-toto Statement 1, model signing 1.0.
    """
    try:
        bundle = json.loads(signed)
        envelope = bundle["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        (one,) = envelope["signatures"]
        if (bundle["mediaType"], envelope["payloadType"]) != (BUNDLE, PAYLOAD):
            raise _not_as_signed("another kind of signature", where)
        over = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)
        if not is_signed_by(public, over, one["sig"]):
            raise _not_as_signed("a signature that is not of the key that must have signed", where)
        statement = json.loads(payload)
        if (statement["_type"], statement["predicateType"]) != (STATEMENT, PREDICATE):
            raise _not_as_signed("another kind of statement", where)
        resources: list[dict[str, str]] = statement["predicate"]["resources"]
        if any(each["algorithm"] != "sha256" for each in resources):
            raise _not_as_signed("digests other than sha256", where)
        return {each["name"]: each["digest"] for each in resources}
    except (ValueError, KeyError, TypeError, RecursionError, TrustError) as error:
        found = f"what is no signature ({type(error).__name__}: {error})".splitlines()[0]
        raise _not_as_signed(found, where) from error


def _not_as_signed(found: str, where: str) -> PackageError:
    return PackageError("a package as it was signed", found=found, where=where,
                        do="do not use it; fetch the version again")  # fmt: skip
