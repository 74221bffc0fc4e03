"""CSV cells: never a formula, whatever sign a spreadsheet cuts at, and exact on the way back."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from cityforge.errors import LabelError
from cityforge.labeling.formats.csv_cells import inert, plain, read_rows, write_rows

SIGNS = "=+-@＝＋－＠\t\r\n\0,;|\"'  a汽"


def runs(text: str) -> bool:
    """Whether a spreadsheet with any list separator would find a formula."""
    cells = re.split(r"[,;|\t\r\n\"]", text)
    return any(cell.strip().startswith(tuple("=+-@＝＋－＠")) for cell in cells)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("car", "car"),
        ("a-b=c", "a-b=c"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("＝1", "'＝1"),
        ("  =1", "  '=1"),
        ("a;=1", "a;'=1"),
        ('a",=1', "a\",'=1"),
        ("a\n=1", "a\n'=1"),
        ("'=1", "''=1"),
        ("", ""),
    ],
)
def test_formula_becomes_text(text: str, cell: str) -> None:
    assert inert(text) == cell
    assert plain(cell) == text
    assert not runs(cell)


@pytest.mark.parametrize("cell", ["'t Harde", "it's", "rock 'n' roll", "汽车"])
def test_cell_of_another_tool_stays(cell: str) -> None:
    assert plain(cell) == cell


def test_random_texts_are_inert_and_come_back(tmp_path: Path) -> None:
    dice = random.Random(0)
    texts = ["".join(dice.choices(SIGNS, k=dice.randint(1, 8))) for _ in range(3000)]
    assert sum(map(runs, texts)) > 1000
    assert not any(runs(inert(text)) for text in texts)
    path = write_rows(tmp_path / "a.csv", ["text", "number"], ([text, -0.1] for text in texts))
    rows = [cells for _, cells in read_rows(path, "a table")]
    assert [plain(cells[0]) for cells in rows[1:]] == texts
    assert {cells[1] for cells in rows[1:]} == {"-0.1"}


def test_place_of_a_row_and_a_broken_quote(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n"c\nd",e\n\nf,g\n"h')
    rows = read_rows(tmp_path / "a.csv", "a table")
    assert [next(rows)[0] for _ in range(3)] == [1, 2, 5]
    with pytest.raises(LabelError, match=r"a table as CSV.*line 6"):
        next(rows)
