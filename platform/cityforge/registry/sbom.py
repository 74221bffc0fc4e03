"""The bill of materials of a bundle: CycloneDX 1.6, as JSON."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cityforge.endpoint.pins import Pinned, normalised

NAMESPACE = uuid.UUID("6f1d0f0e-5a3b-5d0c-9a60-3a1b4f5c7d10")  # of our serial numbers
LONGEST_LICENCE = 60  # signs; above it a metadata field holds the licence's whole text


@dataclass(frozen=True)
class Content:
    """What a bill lists besides the locked distributions."""

    algorithm: str
    version: int
    title: str
    package_digest: str
    model: Mapping[str, str]  # file of the model: its sha256
    at: datetime  # that the bill is dated with
    wheels: Mapping[str, str]  # file name of a wheel that is in: its sha256
    cityforge: str  # file name of cityforge's own wheel, one of `wheels`


def wheel_name(file: str) -> Pinned:
    """Which distribution a wheel's file is of, as PEP 427 names it.

    >>> wheel_name("ruamel_yaml-0.19.1-py3-none-any.whl")
    Pinned(name='ruamel-yaml', version='0.19.1')
    """
    name, version, *_ = file.split("-")
    return Pinned(normalised(name), version)


def bill_of(pins: Iterable[Pinned], content: Content) -> str:
    """The bill; the same content gives the same text.

    Licences are those that the distributions installed here state, where they are of the locked
    version; hashes those of the wheels that are in.
    """
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    model = _model(content)
    locked = list(pins)
    listed = [_distribution(each, content.wheels) for each in locked]
    own = _distribution(wheel_name(content.cityforge), content.wheels)
    serial = uuid.uuid5(NAMESPACE, repr((content, locked)))
    top = _top(content)
    bom = Bom(
        components=[model, own, *listed],
        serial_number=serial,
        metadata=BomMetaData(component=top, timestamp=content.at),
    )
    bom.register_dependency(top, [model, own])
    bom.register_dependency(own, listed)
    made = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    text: str = made.output_as_string(indent=1)
    return text + "\n"


def _top(content: Content) -> Any:
    from cyclonedx.model.component import Component, ComponentType

    name = f"{content.algorithm}-endpoint"
    return Component(
        name=name, version=str(content.version), type=ComponentType.APPLICATION, bom_ref=name,
        description=f"endpoint of {content.title}",
    )  # fmt: skip


def _model(content: Content) -> Any:
    """The network and what it was approved as."""
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    files = [
        Component(
            name=name, type=ComponentType.FILE, bom_ref=f"package/{name}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        )
        for name, digest in content.model.items()
    ]  # fmt: skip
    return Component(
        name=content.algorithm, version=str(content.version), description=content.title,
        type=ComponentType.MACHINE_LEARNING_MODEL, bom_ref=f"model:{content.algorithm}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content.model["model.onnx"])],
        properties=[Property(name="cityforge:package_digest", value=content.package_digest)],
        components=files,
    )  # fmt: skip


def _distribution(pin: Pinned, wheels: Mapping[str, str]) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    purl = PackageURL("pypi", None, pin.name, pin.version)
    hashes = [
        HashType(alg=HashAlgorithm.SHA_256, content=digest)
        for file, digest in wheels.items()
        if wheel_name(file) == pin
    ]
    return Component(
        name=pin.name, version=pin.version, type=ComponentType.LIBRARY, bom_ref=str(purl),
        purl=purl, hashes=hashes, licenses=_licences(pin),
    )  # fmt: skip


def _licences(pin: Pinned) -> list[Any]:
    from cyclonedx.contrib.license.factories import LicenseFactory

    said = licence_of(pin)
    return [LicenseFactory().make_from_string(said)] if said else []


def licence_of(pin: Pinned) -> str:
    """What an installed distribution says of its licence; empty: not installed, or silent."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        about: Any = metadata(pin.name)
    except PackageNotFoundError:
        return ""
    if about["Version"] != pin.version:
        return ""
    stated = about.get("License-Expression") or ""
    classified = [each.rpartition(" :: ")[2] for each in about.get_all("Classifier") or []
                  if each.startswith("License :: OSI Approved :: ")]  # fmt: skip
    short = (about.get("License") or "").strip()
    if len(short) > LONGEST_LICENCE or "\n" in short or short == "UNKNOWN":
        short = ""
    return stated or short or ", ".join(classified)
