"""The page of `cityforge label status`."""

from __future__ import annotations

from datetime import datetime
from gettext import gettext as _

from cityforge.labeling.progress import Progress, in_words

TEMPLATE = "status_sheet.html.j2"


def render_status(found: Progress, now: datetime) -> str:
    """One self-contained HTML page; no name in it can do anything."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cityforge.labeling", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(figure=figure, in_words=in_words)
    page: str = environment.get_template(TEMPLATE).render(_=_, found=found, now=now)
    return page


def figure(value: float | None, places: int = 3) -> str:
    """A number as the page shows it.

    >>> figure(0.8), figure(12345), figure(None)
    ('0.800', '12,345', '–')
    """
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{places}f}"
