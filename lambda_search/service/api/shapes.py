"""What answers look like, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from lambda_search.records.row_json import RowJson

__all__ = ["ALLOWED", "FILE", "MODELS", "ROW", "ROWS", "STUDIES", "STUDY", "UNDER_WAY", "content"]


def content(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """An answer in JSON."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_TEXT = {"type": "string"}
_ROW = {
    "type": "object",
    "description": RowJson.__doc__,
    "required": ["id", "b", "k", "lambdas", "setting", "status", "n", "fid", "baseline_fid"],
    "properties": {
        "id": _TEXT,
        "b": {"type": "number"},
        "k": {"type": "number"},
        "lambdas": {"type": "array", "items": {"type": "number"}},
        "setting": {"type": "object"},
        "status": {"enum": ["confirmed", "published", "measured"]},
        "n": {"type": "integer"},
        "fid": {"type": "number"},
        "baseline_fid": {"type": "number"},
    },
}
_MATCH = {
    "type": "object",
    "required": ["kind", "distance", "reasons", "b", "k", "lambdas", "rows"],
    "properties": {
        "kind": {"enum": ["exact", "interpolated", "nearest"]},
        "rows": {"type": "array", "items": _ROW},
    },
}
_STUDY = {
    "type": "object",
    "required": ["study", "state", "message", "trials", "best", "row", "updated"],
    "properties": {
        "study": _TEXT,
        "state": {"enum": ["queued", "running", "done", "failed", "stopped"]},
        "message": _TEXT,
        "trials": {"type": "integer"},
    },
}


def _list(name: str, items: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name],
        "properties": {
            name: {"type": "array", "items": items},
            "total": {"type": "integer"},
        },
    }


ROW = content("A row, or with `nearest` a match.", {"anyOf": [_ROW, _MATCH]})
ROWS = content("Rows.", _list("rows", _ROW))
FILE = content("A file of rows.", _list("rows", _ROW))
FILE["content"]["text/csv"] = {"schema": _TEXT}
_NAMES = {"type": "array", "items": _TEXT}
ALLOWED = content(
    "What a study may name.",
    {
        "type": "object",
        "required": ["frameworks", "extractors", "hub"],
        "properties": {name: _NAMES for name in ("frameworks", "extractors", "hub")},
    },
)
MODELS = content("Models.", _list("models", {"type": "object", "required": ["name", "rows"]}))
STUDY = content("A study.", _STUDY)
UNDER_WAY = content("Studies of a model.", _list("under_way", _TEXT))
STUDIES = content("Studies.", _list("studies", _STUDY))
