"""Pictures that an endpoint keeps of what it was sent, made private first.

The front asks `Captures` whether a picture is to be kept; `keep_in` keeps it, in a process that
stands behind everything else. An answer never waits for it: where something is in the way, the
picture is not kept, and `Captures.state` says why.
"""

from __future__ import annotations

import json
import random
import time
from asyncio import Future
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cityforge.cards.dataset import Privacy
from cityforge.endpoint.keeper import Keeper, write_private
from cityforge.errors import CardError, CityforgeError, FootageError, InputError

if TYPE_CHECKING:
    from cityforge.endpoint.pool import Pool
    from cityforge.endpoint.wire import Buffer

AGAIN_S = 60.0  # after which what stopped is tried again


class Captures:
    """Decides which pictures are kept, and knows whether that works.

    Args:
        folder: where they go; None: none is kept.
        share: of the requests of which one picture is kept, 0 to 1.
        privacy: file that `write_privacy` wrote; without it none is kept.
    """

    def __init__(self, folder: Path | None, share: float, privacy: Path | None) -> None:
        self._folder, self._share, self._privacy = folder, share, privacy
        self._stopped = ""
        self._again = 0.0  # monotonic time of the next try
        self._off = "" if folder and share > 0 else "off"
        if not self._off:
            try:
                read_privacy(privacy)
            except CityforgeError as error:
                self._off = f"off: {error}"

    @property
    def state(self) -> str:
        """Whether pictures are kept, and why not any more; one line."""
        if self._off:
            return self._off
        if self._stopped:
            return f"stopped: {self._stopped}"
        return f"on: a picture of {100 * self._share:g} % of the requests"

    def wants(self) -> bool:
        """Whether a picture of this request is to be kept.

        Of one request a minute while keeping has stopped, to see whether it works again.
        """
        if self._off:
            return False
        if self._stopped:
            if time.monotonic() < self._again:
                return False
            self._again = time.monotonic() + AGAIN_S
            return True
        return random.random() < self._share

    def offer(self, pool: Pool, digest: str, request_id: str, pictures: Sequence[Buffer]) -> None:
        """Have one picture of a request kept when it is its turn; never waits, never raises.

        Args:
            pool: of the processes that read clips; pictures give way to clips that wait.
            digest: of a model that the pool holds.
        """
        if not pictures or pool.waiting or not self.wants():
            return
        number = random.randrange(len(pictures))
        job = pool.submit(digest, self.head(request_id, number, "share"), pictures[number])
        job.done.add_done_callback(self._replied)

    def head(self, request_id: str, picture: int, why: str) -> dict[str, Any]:
        """The message to `keep_in`; the picture's bytes go with it."""
        return {
            "op": "capture", "folder": str(self._folder), "privacy": str(self._privacy),
            "request_id": request_id, "picture": picture, "why": why,
        }  # fmt: skip

    def heard(self, stopped: str) -> None:
        """Take what `keep_in` said: why nothing is kept, or "" when something was."""
        if stopped and not self._stopped:
            self._again = time.monotonic() + AGAIN_S
        self._stopped = stopped

    def _replied(self, done: Future[tuple[dict[str, Any], Buffer]]) -> None:
        if not done.cancelled() and done.exception() is None:
            self.heard(str(done.result()[0]["state"]))


def keep_in(head: dict[str, Any], picture: bytes) -> str:
    """Keep one picture as `Captures.head` says.

    Returns:
        why none can be kept now; "" when it was, or when this one alone could not be.
    """
    try:
        keeper = _keeper(Path(head["folder"]), Path(head["privacy"]))
        keeper.keep(picture, head["request_id"], int(head["picture"]), head["why"])
    except (FootageError, InputError):
        return ""  # it does not decode, or cannot be made private: it alone is not kept
    except CityforgeError as error:
        return str(error)
    except OSError as error:
        return f"expected to keep pictures, found {error.strerror}, in {head['folder']}"
    return ""


def write_privacy(path: Path, privacy: Privacy, folder: Path) -> None:
    """Write what must be removed from pictures, beside `path`, then rename.

    Args:
        privacy: of the dataset's card.
        folder: of the dataset, which the paths of its detectors start from.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"privacy": privacy.model_dump(mode="json"), "folder": str(folder.resolve())}
    write_private(path, json.dumps(content, ensure_ascii=False).encode())


def read_privacy(path: Path | None) -> tuple[Privacy, Path]:
    """Read what `write_privacy` wrote.

    Raises:
        CardError: there is no such file, or what is not public would be kept as it is.
    """
    do = "serve with the dataset's card at hand, or keep no pictures"
    if path is None:
        raise CardError("what must be removed from pictures", found="nothing", do=do)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        privacy = Privacy.model_validate_json(json.dumps(content["privacy"]))
        folder = Path(content["folder"])
    except OSError as error:
        raise CardError(
            "what must be removed from pictures", found=error.strerror or "no file",
            where=str(path), do=do,
        ) from error  # fmt: skip
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        found = str(error).splitlines()[0] or "something else"
        raise CardError("a privacy of a dataset's card", found=found, where=str(path)) from error
    if not privacy.redact and privacy.grade != "public":
        raise CardError(
            "pictures that are public, or something to remove from them",
            found=f"grade {privacy.grade}, and nothing to remove", where=str(path),
            do="name what to redact in the dataset's card",
        )  # fmt: skip
    return privacy, folder


@lru_cache(maxsize=4)
def _keeper(folder: Path, path: Path) -> Keeper:
    """The keeper of this process; its detectors are opened once."""
    from cityforge.footage.redact import Redactor

    privacy, detectors = read_privacy(path)
    return Keeper(folder, Redactor(privacy, detectors) if privacy.redact else None)
