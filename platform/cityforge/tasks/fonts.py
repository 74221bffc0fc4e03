"""Find a font that can write Chinese, for text drawn into pictures."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

# In order of preference; the last one writes no Chinese but has a size.
NAMES = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "NotoSansSC-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "PingFang.ttc",
    "msyh.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "DroidSansFallback.ttf",
    "simhei.ttf",
    "DejaVuSans.ttf",
)
FOLDERS = (
    "~/.local/share/fonts",
    "~/.fonts",
    "/usr/local/share/fonts",
    "/usr/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)


@cache
def find_font() -> Path | None:
    """Return the font file that suits best, or None where there is none of `NAMES`."""
    found: dict[str, Path] = {}
    for folder in FOLDERS:
        for parent, _, files in os.walk(Path(folder).expanduser()):
            for name in files:
                found.setdefault(name, Path(parent) / name)
    return next((found[name] for name in NAMES if name in found), None)


def load_font(size: int) -> Any:
    """Return the best font as Pillow's ImageFont, `size` pixels high."""
    from PIL import ImageFont

    path = find_font()
    return ImageFont.truetype(str(path), size) if path else ImageFont.load_default(size)
