"""What an endpoint says of itself and of an answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cityforge.endpoint.refusal import Refusal
from cityforge.endpoint.schema import About
from cityforge.errors import InputError
from cityforge.inference.answers import AnswerRow, now
from cityforge.trust.release import Release

if TYPE_CHECKING:
    from starlette.requests import Request

    from cityforge.endpoint.running import Running
    from cityforge.inference.served import Served

SHOWN_OF_APPROVAL = ("reason", "override", "one_person", "withdrawn_reason", "evidence_digest")


def named(served: Served) -> dict[str, Any]:
    """`schema.Named`: which model answers."""
    return {
        "model": served.about.algorithm,
        "version": served.release.version,
        "digest": served.digest,
    }


def about_of(running: Running) -> About:
    """What `/info` says."""
    from cityforge.endpoint import limits

    served = running.exchange.now
    about = served.about
    return About(
        **named(served),
        title=about.title,
        task=about.task,
        classes=about.classes,
        input_width=about.input_width,
        input_height=about.input_height,
        score_threshold=about.score_threshold,
        class_thresholds=about.class_thresholds,
        envelope=about.envelope,
        events=[rule.model_dump(mode="json", exclude_none=True) for rule in about.events or ()],
        cameras=running.cameras.names(),
        approval=_approval_of(served.release),
        trust=served.release.trust,
        refused=served.barred or running.exchange.refused,
        open=running.surroundings.open_to_all,
        capture=running.captures.state,
        limits=limits.shown(running.pictures.most_waiting),
    )


def camera_of(running: Running, name: str | None) -> dict[str, Any] | None:
    """The card of a camera that the caller names.

    Raises:
        Refusal: nobody knows it.
    """
    if name is None:
        return None
    try:
        return running.cameras.find(name).model_dump(mode="json")
    except InputError as error:
        raise Refusal(422, str(error)) from error


def row_of(
    request: Request,
    served: Served,
    answer_id: str,
    route: str,
    pictures: int,
    size: int,
    begun: float,
) -> AnswerRow:
    """The line of an answer in the log."""
    return AnswerRow(
        request_id=answer_id,
        at=now(),
        algorithm=served.about.algorithm,
        version=served.release.version,
        package_digest=served.digest,
        pictures=pictures,
        ms=round(1000 * (time.monotonic() - begun), 3),
        caller=request.scope.get("state", {}).get("caller", ""),
        route=route,
        bytes=size,
    )


def _approval_of(release: Release) -> dict[str, Any]:
    """What people ask of an approval: who, when, why, under which conditions."""
    entry = release.approve
    return {
        "approver": entry.by,
        "at": entry.at,
        "key": entry.key,
        "entry": entry.digest(),
        **{name: entry.body.get(name) for name in SHOWN_OF_APPROVAL},
    }
