"""A table as plain lines: for more rows than anybody reads, which rich would take seconds for."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "  "


def plain_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of equal columns; a Chinese sign is two wide.

    >>> plain_lines(["name", "n"], [["汽车", "1"]])
    ['name  n', '汽车  1']
    """
    from rich.cells import cell_len

    table = [list(head), *(list(row) for row in rows)]
    lengths = [[cell_len(cell) for cell in row] for row in table]
    widths = [max(column) for column in zip(*lengths, strict=True)]
    return [
        GAP.join(
            cell + " " * (width - length)
            for cell, length, width in zip(row, found, widths, strict=True)
        ).rstrip()
        for row, found in zip(table, lengths, strict=True)
    ]
