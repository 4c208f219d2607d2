"""How values look on a page: what its templates call filters.

Names come from files and from strangers: what is not seen in them is spelled out, so that nothing
turns the text around it, and the templates escape the rest.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from plotly.utils import PlotlyJSONEncoder

from lambda_search.report.words import duration
from lambda_search.report.words import signed
from lambda_search.service.linking import sign_in_link
from lambda_search.service.telling import gain_of
from lambda_search.service.telling import number
from lambda_search.service.telling import uncertain
from lambda_search.service.telling import walk_of

__all__ = ["FILTERS", "dumps", "seen"]


def dumps(value: Any, **options: Any) -> str:
    """JSON of figures, for a page's script."""
    return json.dumps(value, cls=PlotlyJSONEncoder, separators=(",", ":"), **options)


def seen(text: str) -> str:
    """A text without characters that are not seen."""
    return text if text.isprintable() else "".join(map(_spelled, text))


def _spelled(one: str) -> str:
    return one if one.isprintable() or one in "\n\u00a0" else ascii(one)[1:-1]


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _quoted(name: str) -> str:
    return quote(name, safe="", errors="replace")


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _asked(query: str) -> str:
    """What an address asks for besides its page, as the end of another address."""
    kept = [one for one in query.split("&") if one and not one.startswith("page=")]
    return f"?{'&'.join(kept)}" if kept else ""


FILTERS: dict[str, Callable[..., Any]] = {
    "asked": _asked,
    "base64": lambda content: base64.b64encode(content).decode(),
    "count": _count,
    "duration": duration,
    "gain": gain_of,
    "number": number,
    "pages": lambda query: f"?{query}",
    "quoted": _quoted,
    "seen": seen,
    "sign_in_link": sign_in_link,
    "signed": signed,
    "uncertain": uncertain,
    "walk": walk_of,
    "when": _when,
}
