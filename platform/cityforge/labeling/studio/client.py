"""Talks to a Label Studio server: label-studio-sdk for who we are, plain httpx for bulk.

The SDK turns every task into an object and sends an import again when it failed, which would
double tasks. So only its handling of tokens is used, legacy ones and personal access tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from cityforge.errors import ServiceError

if TYPE_CHECKING:
    import httpx

CONNECT_S = 10.0
ANSWER_S = 600.0  # an import of 2,000 tasks or an export of a large project takes its time
SAID = 300  # characters of a server's complaint that are shown


class NotThere(ServiceError):
    """The server has no such project, task or annotation."""


class Studio:
    """One Label Studio server and one account on it.

    What only reads, or may be said twice, is tried again for `patience_s` seconds while the
    server does not answer, restarts or answers 5xx. What makes something new never is.
    """

    def __init__(self, url: str, token: SecretStr, patience_s: float = 120.0) -> None:
        import httpx

        self.url = url.rstrip("/")
        self._token = token
        self._patience_s = patience_s
        self._http = httpx.Client(
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            follow_redirects=False,
            trust_env=not _on_this_machine(self.url),  # a city's proxy does not reach it
        )
        self._headers: Callable[[], dict[str, str]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """Read JSON.

        Raises:
            NotThere: the server has nothing there.
            ServiceError: it does not answer, refuses the token, or fails.
        """
        return self._json(self._again("GET", path, params=params))

    def change(self, path: str, content: object) -> Any:
        """Change something that is there (PATCH); saying it twice is as good as once."""
        return self._json(self._again("PATCH", path, json=content))

    def remove(self, path: str) -> None:
        """Delete something; what is gone already is gone."""
        try:
            self._again("DELETE", path)
        except NotThere:
            return

    def ask(self, path: str, content: object, **params: Any) -> Any:
        """A POST that may be said twice: a question, or an act with the same end."""
        answer = self._again("POST", path, json=content, params=params)
        return self._json(answer) if answer.content else None

    def make(self, path: str, content: object, **params: Any) -> Any:
        """Make something new (POST), said once only.

        Raises:
            ServiceError: it failed, or the connection broke: it may have been made or not.
        """
        return self._json(self._once("POST", path, json=content, params=params))

    def upload(self, path: str, name: str, content: bytes, **params: Any) -> Any:
        """Hand over a file (POST), said once only."""
        return self._json(self._once("POST", path, files={name: (name, content)}, params=params))

    @contextmanager
    def stream(self, path: str, **params: Any) -> Iterator[Iterator[bytes]]:
        """Read a long answer in pieces; a break in the middle is a ServiceError."""
        import httpx

        try:
            with self._http.stream(
                "GET", self._address(path), params=params, headers=self._who()
            ) as answer:
                if answer.status_code >= 300:
                    answer.read()
                self._judge(answer, path)
                yield answer.iter_bytes()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._silent(error) from error

    def _again(self, method: str, path: str, **sent: Any) -> httpx.Response:
        from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

        return Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, _Passing)),
            stop=stop_after_delay(self._patience_s),
            wait=wait_random_exponential(multiplier=0.3, max=5),
            reraise=True,
        )(self._once, method, path, **sent)

    def _once(self, method: str, path: str, **sent: Any) -> httpx.Response:
        import httpx

        try:
            answer = self._http.request(method, self._address(path), headers=self._who(), **sent)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._silent(error) from error
        self._judge(answer, path)
        return answer

    def _json(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise ServiceError(
                "JSON from Label Studio",
                found=_short(answer.text),
                where=str(answer.url),
                do="set CITYFORGE_LABEL_STUDIO_URL to the server itself, not to a page before it",
            ) from error

    def _address(self, path: str) -> str:
        return f"{self.url}/{path.lstrip('/')}"

    def _who(self) -> dict[str, str]:
        """Headers that say who asks; a personal access token is renewed when it is due."""
        import httpx
        from label_studio_sdk import LabelStudio
        from label_studio_sdk.core.api_error import ApiError

        try:
            if self._headers is None:
                sdk = LabelStudio(
                    base_url=self.url, api_key=self._token.get_secret_value(),
                    httpx_client=self._http,
                )  # fmt: skip
                self._headers = sdk._client_wrapper.get_headers
            return {"Authorization": self._headers()["Authorization"]}
        except ApiError as error:
            raise self._refused(f"a token that is refused ({error.status_code})") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._silent(error) from error

    def _judge(self, answer: httpx.Response, path: str) -> None:
        status = answer.status_code
        if status < 300:
            return
        if status in (401, 403):
            raise self._refused(f"{status} for {path}")
        if status == 404:
            raise NotThere(f"{path} on Label Studio", found="404", where=self.url)
        if status < 400:
            to = answer.headers.get("location", "")
            raise ServiceError(
                "Label Studio at this address",
                found=f"{status}, moved to {_short(to)}",
                where=self.url,
                do="set CITYFORGE_LABEL_STUDIO_URL to where it is now",
            )
        kind = _Passing if status >= 500 or status in (408, 409, 429) else ServiceError
        raise kind(
            f"Label Studio to accept {path}",
            found=f"{status}: {_short(answer.text)}",
            where=self.url,
            do="look into its log; run the command again when it is mended",
        )

    def _refused(self, found: str) -> ServiceError:
        return ServiceError(
            "a token that Label Studio accepts",
            found=found,
            where=self.url,
            do="set CITYFORGE_LABEL_STUDIO_TOKEN to one of 'Account & Settings' there; "
            "for the server of this machine: cityforge label start --reset-token",
        )

    def _silent(self, error: Exception) -> ServiceError:
        return _Passing(
            "Label Studio to answer",
            found=f"{type(error).__name__}: {_short(str(error))}",
            where=self.url,
            do="start it (cityforge label start), or set CITYFORGE_LABEL_STUDIO_URL",
        )


class _Passing(ServiceError):
    """A failure that may be over in a moment."""


def _on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SAID else f"{line[:SAID]}…"
