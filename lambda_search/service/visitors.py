"""Who asks, as the gate has found it; routes and pages read it from the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection
from starlette.types import Scope

__all__ = ["Visitor", "host_asking", "visitor_of"]


@dataclass(frozen=True)
class Visitor:
    """Who sent a request.

    Arguments:
        may_read, may_write: what it may do.
        csrf: what the forms of a signed-in page carry in their field `csrf`; "" where nobody is
            signed in.
    """

    may_read: bool = False
    may_write: bool = False
    csrf: str = ""


def visitor_of(request: HTTPConnection) -> Visitor:
    """Who sent `request`."""
    return cast(Visitor, request.scope["state"]["visitor"])


def host_asking(scope: Scope) -> str:
    """The host that a request comes from, or the one that a proxy says, if it is believed."""
    client = scope.get("client")
    return "" if client is None else str(client[0])
