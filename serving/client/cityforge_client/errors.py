"""What may go wrong, as exceptions.

CityforgeClientError
├── BadInput          400, 413, 415, 422: what was sent; send another
├── NotAllowed        401, 403: the token, its scope, or the address the endpoint is called by
├── UnknownRequest    404: a request id that this endpoint never made, or no such route
├── AlreadyTold       409: feedback for this picture was stored before
├── TooManyRequests   429: over the caller's rate
├── Unavailable       502, 503: full, starting, or its model is barred
├── OutOfTime         408, 504, or no answer within `timeout`
├── Unreachable       nobody answers at the address, or the connection broke
└── BadAnswer         an answer that is none of a cityforge endpoint
"""

from __future__ import annotations


class CityforgeClientError(Exception):
    """One line in the words of the endpoint.

    `status`: of HTTP, 0 where nothing was answered. `request_id`: to name when you ask about it.
    `retry_after`: seconds the endpoint asks to wait, where it does.
    """

    def __init__(
        self,
        text: str,
        status: int = 0,
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        said = f"{self.status}: {self.text}" if self.status else self.text
        return f"{said} (request {self.request_id})" if self.request_id else said


class BadInput(CityforgeClientError):
    """What was sent does not decode, is too large, or is not as the endpoint describes it."""


class NotAllowed(CityforgeClientError):
    """No token, a wrong one, one without the scope, or a foreign address."""


class UnknownRequest(CityforgeClientError):
    """A request id that this endpoint never made, or a path it does not have."""


class AlreadyTold(CityforgeClientError):
    """Feedback for this picture of this request was stored before."""


class TooManyRequests(CityforgeClientError):
    """The caller's rate is used up; `retry_after` says when there is more."""


class Unavailable(CityforgeClientError):
    """The endpoint is full, starting, or may not answer with its model."""


class OutOfTime(CityforgeClientError):
    """No answer in the time of the endpoint, or in that of this client."""


class Unreachable(CityforgeClientError):
    """Nobody answers at the address, or the connection broke."""


class BadAnswer(CityforgeClientError):
    """An answer that is none of a cityforge endpoint: another server, or a proxy's page."""


OF_STATUS: dict[int, type[CityforgeClientError]] = {
    400: BadInput,
    401: NotAllowed,
    403: NotAllowed,
    404: UnknownRequest,
    408: OutOfTime,
    409: AlreadyTold,
    413: BadInput,
    415: BadInput,
    422: BadInput,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: OutOfTime,
}
