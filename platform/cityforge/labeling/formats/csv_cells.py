"""CSV whose cells no spreadsheet runs as a formula, and that reads back exactly.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@` (also in full width), and passes
over a tab or line break before it (owasp.org, CSV Injection). Where the list separator is not
the comma, a text may be cut at `;`, `|`, a tab, a line break or a quote, and what follows begins
a cell of its own. So an apostrophe goes before each such sign wherever a cell may begin, and
before an apostrophe there, so that taking one away again gives the text back. Numbers that we
write as numbers stay as they are: a spreadsheet reads `-0.5` as a number, not as a formula.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import read_text, write_text

GUARD = "'"
_FORMULA = "=+-@＝＋－＠"
_BREAKS = ',;|\t\r\n"'
_GUARDED = frozenset(_FORMULA + "\t\r\n\0" + GUARD)
_LONGEST_CELL = 1 << 20


def inert(text: str) -> str:
    """The text as a cell that is never a formula.

    >>> inert("=1+1"), inert("a-b"), inert("a;=1"), inert("'s")
    ("'=1+1", 'a-b', "a;'=1", "''s")
    """
    signs = []
    begins = True
    for sign in text:
        if begins and sign in _GUARDED:
            signs.append(GUARD)
        signs.append(sign)
        begins = _begins_after(sign, begins)
    return "".join(signs)


def plain(cell: str) -> str:
    """The text of a cell that `inert` made; other cells stay as they are.

    >>> plain("'=1+1"), plain("a;'=1"), plain("'t Harde")
    ('=1+1', 'a;=1', "'t Harde")
    """
    signs = []
    begins, is_guarded = True, False
    for sign, following in zip(cell, f"{cell} "[1:], strict=True):
        if begins and not is_guarded and sign == GUARD and following in _GUARDED:
            is_guarded = True
            continue
        signs.append(sign)
        begins, is_guarded = _begins_after(sign, begins), False
    return "".join(signs)


def read_rows(path: Path, kind: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells, without blank lines; the texts are not yet made plain.

    Raises:
        LabelError: as `read_text`, or the file is no CSV.
    """
    text = read_text(path, kind)
    before = csv.field_size_limit()  # of the whole process: others keep theirs
    csv.field_size_limit(max(before, _LONGEST_CELL))
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        where = f"{path} line {line}"
        raise LabelError(f"{kind} as CSV", found=str(error), where=where) from None
    finally:
        csv.field_size_limit(before)


def write_rows(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[str | int | float]]
) -> Path:
    """Write CSV in UTF-8; texts are made inert, numbers keep their shortest exact form.

    Raises:
        LabelError: a text that UTF-8 cannot hold.
        ServiceError: the disk refuses.
    """
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180; it makes both be quoted
    writer.writerow(header)
    for row in rows:
        writer.writerow([inert(cell) if isinstance(cell, str) else cell for cell in row])
    return write_text(path, text.getvalue())


def _begins_after(sign: str, begins: bool) -> bool:
    """Whether a cell may begin after the sign; outer space is passed over."""
    return sign in _BREAKS or (begins and sign.isspace())
