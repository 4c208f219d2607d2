"""The OpenAPI document: who may ask what, which routes alone do not say."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

__all__ = ["add_security"]

_TOKEN = {"type": "http", "scheme": "bearer", "description": "LAMBDA_SEARCH_TOKEN of the service."}
_WRITING: list[dict[str, Any]] = [{"token": []}]
_READING: list[dict[str, Any]] = [{}, *_WRITING]
"""Reading is open where the service says so."""


def add_security(app: FastAPI) -> None:
    """Has the document of `app` name the token: what writes needs it, what reads may."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            told = made()
            told.setdefault("components", {})["securitySchemes"] = {"token": _TOKEN}
            for operations in told["paths"].values():
                for method, one in operations.items():
                    one["security"] = _READING if method == "get" else _WRITING
        return made()

    app.openapi = openapi  # type: ignore[method-assign]
