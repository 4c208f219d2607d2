"""Files that pages need: ours, and Plotly's script as its package has it."""

from __future__ import annotations

import gzip
import re
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

__all__ = ["mount", "router"]

router = APIRouter(include_in_schema=False)
_VERSION = version("plotly")
PLOTLY = f"/assets/plotly.min.js?v={_VERSION}"
"""Where pages find Plotly: another address for another version, so that it is asked for once."""


@router.get("/assets/plotly.min.js")
def plotly(request: Request, v: str = "") -> Response:
    """Plotly, compressed for whoever takes that."""
    keep = "max-age=31536000, immutable" if v == _VERSION else "max-age=3600"
    headers = {"Cache-Control": keep, "Vary": "Accept-Encoding"}
    if not _GZIP.search(request.headers.get("accept-encoding", "")):
        return FileResponse(_place(), headers=headers, media_type="text/javascript")
    headers["Content-Encoding"] = "gzip"
    return Response(_compressed(), headers=headers, media_type="text/javascript")


_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", re.IGNORECASE)


def _place() -> Path:
    return Path(str(files("plotly")), "package_data", "plotly.min.js")


@cache
def _compressed() -> bytes:
    return gzip.compress(_place().read_bytes(), mtime=0)


def mount() -> Mount:
    """What lies beside this module."""
    return _Files(
        "/assets", StaticFiles(directory=Path(__file__).with_name("assets"), check_dir=False)
    )


class _Files(Mount):
    """Files, which can only be read."""

    reads_only = True
