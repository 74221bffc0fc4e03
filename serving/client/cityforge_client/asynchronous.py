"""The client that is awaited: the same questions, answers and waits as `Client`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

import httpx

from cityforge_client.answers import About, Analysis, Box, Prediction, Thanks
from cityforge_client.calls import (
    Call,
    Scene,
    Source,
    Times,
    analyze_call,
    answer_of,
    feedback_call,
    info_call,
    is_ready,
    opened,
    predict_call,
    settings_of,
)
from cityforge_client.retry import Outcome, Patience, Waits

T = TypeVar("T")


class AsyncClient:
    """Asks one endpoint; tasks of one event loop may share it.

    `timeout`: seconds without a byte after which an attempt is given up. `retries`: attempts
    behind the first. `budget`: seconds behind which no further attempt begins. `clip_timeout`: as
    `timeout`, of an analysis, whose first byte comes when it is done. `verify`: False
    or an ssl.SSLContext for certificates of a city's own authority.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        timeout: float = 60,
        retries: int = 4,
        verify: bool | ssl.SSLContext = True,
        budget: float = 300,
        clip_timeout: float = 660,
    ) -> None:
        self._times = Times(timeout, clip_timeout)
        self._patience = Patience(retries, budget)
        self._http = httpx.AsyncClient(**settings_of(address, token), verify=verify)

    async def predict(
        self, *pictures: Source, camera: str | None = None, map: bool = False
    ) -> Prediction:
        """Find objects, classes or counts in 1 to 32 pictures: paths, bytes or open files."""
        return await self._ask(predict_call(pictures, camera, map))

    async def analyze(
        self,
        clip: Source,
        scene: Scene | None = None,
        camera: str | None = None,
        fps: float = 5,
        evidence: int = 1,
    ) -> Analysis:
        """Find tracks and events in a clip; it is read as it is sent, never whole in memory."""
        return await self._ask(analyze_call(clip, scene, camera, fps, evidence))

    async def info(self) -> About:
        """Say which model answers, and how."""
        return await self._ask(info_call())

    async def feedback(
        self,
        request_id: str,
        right: bool,
        boxes: Iterable[Box | Mapping[str, Any]] | None = None,
        note: str = "",
        picture: int = 0,
    ) -> Thanks:
        """Say whether an answer was right, and what would have been."""
        return await self._ask(feedback_call(request_id, right, boxes, note, picture))

    async def ready(self) -> bool:
        """Say whether the endpoint can answer now; asked once."""
        try:
            return is_ready(await self._http.get("/readyz", timeout=self._times.short))
        except httpx.RequestError as error:
            return is_ready(error)

    async def _ask(self, call: Call[T]) -> T:
        waits = Waits(self._patience)
        while True:
            outcome = await self._send(call)
            wait = waits.after(outcome, call.repeatable)
            if wait is None:
                return answer_of(call, outcome)
            await asyncio.sleep(wait)

    async def _send(self, call: Call[Any]) -> Outcome:
        with opened(call, self._times) as asked:
            try:
                return await self._http.request(**asked)
            except httpx.RequestError as error:
                return error

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncClient({str(self._http.base_url)!r})"
