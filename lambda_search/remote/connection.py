"""Requests to a service: its token, its pages, and its errors as those that a store raises."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from functools import cache
from functools import cached_property
from typing import TYPE_CHECKING
from typing import Any
from urllib.parse import urlencode
from urllib.parse import urlsplit

from lambda_search.errors import Conflict
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UnknownName
from lambda_search.errors import UsageError
from lambda_search.errors import printable
from lambda_search.errors import without_secrets

if TYPE_CHECKING:
    from lambda_search.remote.transport import Answer
    from lambda_search.remote.transport import Opener
    from lambda_search.remote.transport import Refusal

__all__ = ["Connection", "ServiceAway", "understood"]


class ServiceAway(LambdaSearchError):
    """A service, or its store, that cannot be reached now."""


_TOKEN = "LAMBDA_SEARCH_TOKEN"
_TIMEOUT_SECONDS = 60
_PAGE = 200
_LARGEST = 1 << 28
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ERRORS: Mapping[str, type[LambdaSearchError]] = {
    "no-schedule": NoScheduleFound,
    "unknown": UnknownName,
    "conflict": Conflict,
    "usage": UsageError,
    "invalid": UsageError,
    "token": UsageError,
    "forbidden": UsageError,
    "too-large": UsageError,
    "not-found": UsageError,
    "method-not-allowed": UsageError,
    "store-away": ServiceAway,
    "store": ServiceAway,
    "busy": ServiceAway,
}


class Connection:
    """Asks the service at an address.

    Arguments:
        address: http://HOST:PORT or https://….

    Raises:
        UsageError: for what is no such address; MissingFile if the network may not be asked.
    """

    def __init__(self, address: str) -> None:
        from lambda_search.downloads import offline

        parts = urlsplit(address)
        if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
            raise UsageError(
                f"{without_secrets(address)} is no address of a service.",
                f"Write http://HOST:PORT; its token goes into {_TOKEN}.",
            )
        self.address = address.rstrip("/")
        self._here = parts.hostname in _LOOPBACK
        if offline() and not self._here:
            raise MissingFile(
                f"The network may not be asked for {self.address}.", "Leave --offline out."
            )
        if parts.scheme == "http" and not self._here and os.environ.get(_TOKEN, "").strip():
            _warn_once(self.address)

    @cached_property
    def _opener(self) -> Opener:
        from lambda_search.remote.transport import opener

        return opener(self._here)

    def pages(self, path: str, name: str, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All of a list that comes in pages."""
        offset = 0
        while True:
            told = self.json(path, {**asked, "limit": _PAGE, "offset": offset})
            yield from told[name]
            offset += _PAGE
            if offset >= told["total"]:  # a page may be empty where rows were taken back
                return

    def json(
        self,
        path: str,
        asked: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        method: str | None = None,
    ) -> dict[str, Any]:
        """The JSON object that is answered."""
        words = {name: _word(value) for name, value in (asked or {}).items() if value is not None}
        place = f"{path}?{urlencode(words)}" if words else path
        method = method or ("GET" if body is None else "POST")
        with self.answer(method, place, body) as answer, understood():
            found = json.loads(answer.read(_LARGEST))
            if not isinstance(found, dict):
                raise ValueError("it is no object")
            return found

    @contextmanager
    def answer(self, method: str, path: str, body: bytes | None = None) -> Iterator[Answer]:
        """The answer itself, to be read."""
        from lambda_search.remote.transport import FAILURES
        from lambda_search.remote.transport import Refusal
        from lambda_search.remote.transport import Request

        headers = {"Accept": "application/json", "User-Agent": "lambda-search"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        token = os.environ.get(_TOKEN, "").strip()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = Request(self.address + path, data=body, headers=headers, method=method)
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                yield answer
        except Refusal as error:
            raise _told(error, self.address) from error
        except FAILURES as error:
            reason = str(getattr(error, "reason", None) or error) or type(error).__name__
            raise ServiceAway(
                f"The service {self.address} cannot be reached: {printable(reason, 200)}.",
                "Check --store, and that it runs.",
            ) from error


@cache
def _warn_once(address: str) -> None:
    told = f"The token goes to {address} over plain http: whoever is in between can read it."
    warnings.warn(f"{told} Have the service behind TLS, and write https://.", stacklevel=2)


def _told(error: Refusal, address: str) -> LambdaSearchError:
    """What a service says that is wrong, as the error that a store would raise."""
    try:
        told = json.loads(error.read(1 << 20))
        kind = _ERRORS.get(str(told["code"]), LambdaSearchError)
        return kind(str(told["detail"]), str(told["hint"]))
    except (ValueError, KeyError, TypeError):
        return LambdaSearchError(
            f"{address} answered with status {error.code}, and not as a service of lambda_search.",
            "Check --store.",
        )


@contextmanager
def understood() -> Iterator[None]:
    """Turns what an answer lacks into a message with a next step."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LambdaSearchError(
            f"The service's answer is none of this release: {printable(str(error), 200)}.",
            "Have both of one release.",
        ) from error


def _word(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
