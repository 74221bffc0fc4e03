"""The items of a JSON list one after another, so that a large export need not fit into memory.

ijson is not used: it turns half a character (a lone surrogate) into a question mark in silence
and refuses NaN, so that one file would say different things by the way it is read. This reads
with Python's own JSON scanner, and what it reads is what `read_json` reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from cityforge.errors import LabelError
from cityforge.labeling.formats.encodings import marked_encoding
from cityforge.labeling.formats.files import read_json

CHUNK_CHARACTERS = 1 << 20
_AFTER_ITEM = frozenset(",] \t\n\r")
_SPACE = re.compile(r"[ \t\n\r]*")


def json_list(path: Path, expected: str) -> Iterator[object]:
    """The items of a list, parsed as they are asked for.

    Raises:
        LabelError: as `read_json`, or it is no list; `expected` says what was wanted.
    """
    try:
        with path.open("rb") as raw:
            codec = marked_encoding(raw.read(4))
        with path.open(encoding=codec, newline="") as file:
            yield from _Window(file).items()
    except (ValueError, OSError, RecursionError):
        document = read_json(path)  # names the fault and its place
        do = "export it again"
        found = f"a {type(document).__name__}"
        raise LabelError(expected, found=found, where=str(path), do=do) from None


class _Window:
    """The piece of the text in memory; it grows where one item is longer than a chunk."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._decode = json.JSONDecoder().raw_decode

    def items(self) -> Iterator[object]:
        self._expect("[")
        if self._sign() == "]":
            self._at += 1
        else:
            yield self._item()
            while self._sign() == ",":
                self._at += 1
                yield self._item()
            self._expect("]")
        self._expect("")

    def _item(self) -> object:
        self._sign()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._grow():
                    raise
                continue
            if self._text[end : end + 1] in _AFTER_ITEM:  # else a number may go on
                self._at = end
                return value
            if not self._grow():
                raise ValueError("the list breaks off")

    def _expect(self, sign: str) -> None:
        if self._sign() != sign:
            raise ValueError(f"expected {sign or 'the end'}")
        self._at += len(sign)

    def _sign(self) -> str:
        """The next sign that is no space; empty at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text) or not self._grow():
                return self._text[self._at : self._at + 1]

    def _grow(self) -> bool:
        """Read on; twice as much each time that the same item does not end."""
        rest = self._text[self._at :]
        more = self._file.read(max(CHUNK_CHARACTERS, len(rest)))
        self._text, self._at = rest + more, 0
        return bool(more)
