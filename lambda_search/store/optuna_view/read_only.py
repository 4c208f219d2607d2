"""What is said to whoever would write: in Python, and to the dashboard's HTTP API."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from optuna.exceptions import OptunaError

from lambda_search.errors import LambdaSearchError
from lambda_search.shell import command

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["ReadOnly", "reading_only"]

_READING = ("GET", "HEAD")


class ReadOnly(OptunaError, LambdaSearchError):
    """Something tried to write; studies are changed with lambda-search alone."""

    def __init__(self) -> None:
        super().__init__(
            "The studies of lambda_search can only be read here.",
            "A copy can be changed; make one with: "
            f"{command('export', 'STUDY', '--format', 'optuna', '--to', 'sqlite:///copy.db')}",
        )


def reading_only(app: WSGIApplication) -> WSGIApplication:
    """`app`, which is asked nothing but to read; all else is answered here, in JSON."""

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in _READING:
            return app(environ, start_response)
        body = json.dumps({"reason": str(ReadOnly())}).encode()
        headers = [
            ("Allow", ", ".join(_READING)),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
        ]
        start_response("405 Method Not Allowed", headers)
        return [body]

    return guarded
