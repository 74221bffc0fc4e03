"""Pictures that are quick, and slow, to decode; what the tiny release answers to them."""

from __future__ import annotations

import io

import httpx
from PIL import Image

BOX = {"class_name": "汽车", "score": 0.9, "x1": 8.0, "y1": 6.0, "x2": 40.0, "y2": 30.0}


def quick() -> bytes:
    """A JPEG of 64×48."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 120, 60)).save(stream, "JPEG")
    return stream.getvalue()


def slow() -> bytes:
    """A PNG of some kilobytes whose decoding takes tens of milliseconds."""
    stream = io.BytesIO()
    Image.new("RGB", (2400, 1800), (90, 120, 60)).save(stream, "PNG")
    return stream.getvalue()


def refuse_another_answer(address: str, seconds: float = 30.0) -> None:
    """A known picture gets its known answer."""
    files = {"images": ("known.jpg", quick(), "image/jpeg")}
    answer = httpx.post(f"{address}/predict", files=files, timeout=seconds)
    assert answer.status_code == 200, answer.text
    assert answer.json()["pictures"][0]["boxes"] == [BOX]
