"""What one request may ask of an endpoint."""

from __future__ import annotations

MOST_PICTURES = 32  # a request
MOST_PICTURE = 32 << 20  # bytes
MOST_BODY = 64 << 20  # bytes of a request with pictures
MOST_CLIP = 2 << 30  # bytes
MOST_SECONDS = 3600.0  # of film
REQUEST_S = 30.0  # from a request's last byte to its answer
CLIP_S = 600.0


def shown(most_waiting: int) -> dict[str, float]:
    """The limits as `/info` says them."""
    return {
        "pictures": MOST_PICTURES,
        "picture_bytes": MOST_PICTURE,
        "body_bytes": MOST_BODY,
        "clip_bytes": MOST_CLIP,
        "clip_seconds": MOST_SECONDS,
        "seconds": REQUEST_S,
        "analyze_seconds": CLIP_S,
        "waiting": most_waiting,
    }
