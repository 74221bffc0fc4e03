"""Read XML of any length element by element, without entities, and check text for writing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cityforge.errors import LabelError
from cityforge.labeling.formats.encodings import marked_encoding
from cityforge.labeling.formats.files import read_xml_text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'

_KIND = "an XML file"

# Characters that XML 1.0 cannot hold; a carriage return in text becomes a line feed.
_NOT_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


def children(path: Path) -> Iterator[Element]:
    """The root as it opens, then each of its children; a child is let go after its turn.

    Raises:
        LabelError: missing, in an unknown encoding, no XML, or with a DOCTYPE.
    """
    from defusedxml.ElementTree import iterparse

    with _faults(path), _text(path) as stream:
        depth, root = 0, None
        for event, element in iterparse(stream, events=("start", "end"), forbid_dtd=True):
            depth += 1 if event == "start" else -1
            if root is None:
                root = element
                yield root
            elif event == "end" and depth == 1:
                yield element
                root.clear()


def xml_paths(path: Path) -> list[Path]:
    """The file itself, or all XML files of a folder and its subfolders.

    Raises:
        LabelError: the folder has none.
    """
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob("*.xml"))
    if not files:
        raise LabelError("a folder of XML files", found="no .xml file", where=str(path))
    return files


def kept_text(text: str, where: str) -> str:
    """Text that comes back from XML as it was.

    Raises:
        LabelError: it holds control characters or half characters, is empty, or has outer spaces.
    """
    if _NOT_XML.search(text) or text != text.strip() or not text:
        raise LabelError(
            "a name that XML keeps as it is",
            found=repr(text),
            where=where,
            do="rename it without control characters and outer spaces",
        )
    return text


def _text(path: Path) -> TextIO:
    """The file piece by piece; whole where its first line declares another encoding."""
    with path.open("rb") as raw:
        start = raw.read(200).lower()
    codec = marked_encoding(start[:4])
    if codec == "utf-8" and b"encoding" in start and b"utf-8" not in start:
        return StringIO(read_xml_text(path, _KIND))
    return path.open(encoding=codec, newline="")


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException

    try:
        yield
    except ParseError as error:
        line, column = error.position
        where = f"{path} line {line} column {column}"
        do = "export it again; the file may be cut off"
        raise LabelError("valid XML", found=str(error), where=where, do=do) from None
    except DefusedXmlException as error:
        found, do = type(error).__name__, "remove the DOCTYPE"
        raise LabelError("XML without a DOCTYPE", found=found, where=str(path), do=do) from None
    except (UnicodeDecodeError, OSError):
        read_xml_text(path, _KIND)  # names the fault and its place
        raise
