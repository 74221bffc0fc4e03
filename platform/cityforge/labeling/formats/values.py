"""Turn the loose values of a label file into numbers, names and ids, or say why not."""

from __future__ import annotations

import math
import re

# One rule in every format: a string is a number only when it is written plainly.
_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

_DIGITS = re.compile(r"\d{1,30}", re.ASCII)


class UnusableError(ValueError):
    """A value that its row cannot be used with; the reader lists the row as rejected."""

    def __init__(self, reason: str, found: object) -> None:
        self.reason = reason
        self.found = shown(found)
        super().__init__(f"{reason}: {self.found}")


def shown(value: object, limit: int = 80) -> str:
    """Write a value into a message, shortened.

    >>> shown("12,5")
    "'12,5'"
    """
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def number(value: object, what: str) -> float:
    """Take a finite number, also one given as a plain string.

    >>> number("12.5", "x"), number(3, "x")
    (12.5, 3.0)
    """
    if isinstance(value, str) and _PLAIN_NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnusableError(f"{what} is no number", value)
    try:
        result = float(value)
    except OverflowError:
        raise UnusableError(f"{what} is too large", value) from None
    if not math.isfinite(result):
        raise UnusableError(f"{what} is not finite", value)
    return result


def whole(value: object, what: str) -> int:
    """Take a whole number, also `3.0` and `"3"`."""
    result = number(value, what)
    if not result.is_integer():
        raise UnusableError(f"{what} is no whole number", value)
    return int(result)


def size(value: object, what: str) -> int | None:
    """Take a width or height in pixels; absent and 0 both mean that none is stated."""
    if value is None or value == "":
        return None
    result = whole(value, what)
    if result < 0:
        raise UnusableError(f"{what} is below zero", value)
    return result or None


def name(value: object, what: str) -> str:
    """Take a name that is not empty and that UTF-8 can hold."""
    if not isinstance(value, str) or not value.strip():
        raise UnusableError(f"{what} is missing or no text", value)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise UnusableError(f"{what} holds half a character", value) from None
    return value


def ident(value: object, what: str) -> int | str:
    """Take an id, so that 7 and "7" are the same one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        return int(value) if _DIGITS.fullmatch(value) else name(value, what)
    return whole(value, what)


def fields(value: object, what: str) -> dict[str, object]:
    """Take a JSON object."""
    if not isinstance(value, dict):
        raise UnusableError(f"{what} is missing or no object", value)
    return value


def entries(value: object, what: str) -> list[object]:
    """Take a JSON list."""
    if not isinstance(value, list):
        raise UnusableError(f"{what} is missing or no list", value)
    return value
