"""Files that pages need: ours, and Plotly's script as its package has it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

__all__ = ["mount", "router"]

router = APIRouter(include_in_schema=False)
_KEPT = {"Cache-Control": "max-age=3600"}


@router.get("/assets/plotly.min.js")
def plotly() -> FileResponse:
    """Plotly."""
    place = Path(str(files("plotly")), "package_data", "plotly.min.js")
    return FileResponse(place, headers=_KEPT, media_type="text/javascript")


def mount() -> Mount:
    """What lies beside this module."""
    return _Files(
        "/assets", StaticFiles(directory=Path(__file__).with_name("assets"), check_dir=False)
    )


class _Files(Mount):
    """Files, which can only be read."""

    reads_only = True
