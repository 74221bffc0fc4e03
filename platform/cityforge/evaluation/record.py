"""What the parts of an evidence are made of: frozen records, and figures that JSON can hold."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

DECIMALS = 6  # of every figure, so that the last bits of a sum do not change the digest


def _figure(value: object) -> object:
    """Round a number; nan and infinity become null, which JSON can hold."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return value
    number = float(value)
    return round(number, DECIMALS) if math.isfinite(number) else None


Figure = Annotated[float | None, BeforeValidator(_figure)]


class Record(BaseModel):
    """A frozen part of the evidence; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
