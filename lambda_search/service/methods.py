"""Which methods an address takes: those of all routes that lead there (RFC 9110 §10.2.1)."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Match
from starlette.types import Scope

__all__ = ["allowed"]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def allowed(app: Starlette, scope: Scope) -> str:
    """The methods that `scope`'s address takes, as the header Allow names them; "" for none."""
    found = [one for one in _METHODS if _takes(app, scope, one)]
    if "GET" in found:
        found.insert(1, "HEAD")
    return ", ".join([*found, "OPTIONS"]) if found else ""


def _takes(app: Starlette, scope: Scope, method: str) -> bool:
    asked: dict[str, object] = {
        "type": "http",
        "method": method,
        "headers": [],
        "query_string": b"",
    }
    root = scope.get("app_root_path", scope.get("root_path", ""))  # a mount changes the other
    asked |= {"path": scope["path"], "root_path": root, "app": app}
    for route in app.router.routes:
        match, _ = route.matches(dict(asked))
        if match is not Match.NONE and getattr(route, "reads_only", False):
            return method == "GET"
        if match is Match.FULL:
            return True
    return False
