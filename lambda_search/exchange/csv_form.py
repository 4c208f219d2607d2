"""Rows as CSV, for tables: a line each, with all that the JSON form says.

What is not known is empty; lists and objects are JSON. A text with characters that are not seen,
or that a spreadsheet would take for a formula, has these as JSON's escapes, and so backslashes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from lambda_search.exchange.json_form import VERSION
from lambda_search.exchange.json_form import escaped
from lambda_search.records import Row
from lambda_search.setting import Setting

__all__ = ["cell", "csv_pieces", "csv_values"]

_FORMULA = "=+-@"
_NUMBERS = (
    *("b", "k", "n", "nfe", "fid", "fid_low", "fid_high", "baseline_fid", "baseline_low"),
    *("baseline_high", "gain", "gain_low", "gain_high", "gain_level"),
)
_ORIGINS = ("dataset", "hub", "revision", "file")
_LARGEST_CELL = 1 << 22


def csv_pieces(rows: Iterable[Row]) -> Iterator[str]:
    """The text of a file, its header first."""
    stream = io.StringIO()
    writer: Any = None
    for row in rows:
        cells = _cells(row)
        if writer is None:
            writer = csv.DictWriter(stream, list(cells), lineterminator="\n")
            writer.writeheader()
        writer.writerow(cells)
        yield stream.getvalue()
        stream.seek(0)
        stream.truncate()


def csv_values(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """What each line says, as `Row.to_json` has it.

    Raises:
        ValueError: for what is no such file, or one of another version.
    """
    csv.field_size_limit(_LARGEST_CELL)
    try:
        reader = csv.DictReader(lines, strict=True)
        if not {"version", "provenance"} <= set(reader.fieldnames or ()):
            raise ValueError("it is no file of rows")
        for cells in reader:
            if None in cells or None in cells.values():
                raise ValueError("it has more or fewer cells than the header")
            if cells["version"] != str(VERSION):
                told = cells["version"]
                raise ValueError(f"it has version {told}, and this release reads {VERSION}")
            yield _told(cells)
    except (csv.Error, TypeError) as error:
        raise ValueError(f"it is broken: {error}") from error
    except KeyError as error:
        raise ValueError(f"it has no column {error}") from error


def _cells(row: Row) -> dict[str, Any]:
    told = row.to_json()
    setting = told["setting"]
    known = any(step["timestep"] is not None for step in told["table"])
    back = told["retraction"] or {"reason": None, "at": None}
    fields = {name: cell(setting[name]) for name in Setting.model_fields if name != "options"}
    return {
        "version": VERSION,
        "id": told["id"],
        **fields,
        "options": _json({key: it for key, it in setting["options"].items() if it is not None}),
        "nfe": told["nfe"],
        "b": told["b"],
        "k": told["k"],
        "lambdas": _json(told["lambdas"]),
        "levels": _json([[one["timestep"], one["sigma"]] for one in told["table"]])
        if known
        else None,
        "status": told["status"],
        "verdict": cell(told["verdict"]),
        "n": told["n"],
        **_ends("fid", told["fid"], told["fid_interval"]),
        **_ends("baseline", told["baseline_fid"], told["baseline_interval"]),
        **_ends("gain", told["gain"], told["gain_interval"]),
        "gain_level": told["gain_level"],
        "study": cell(row.provenance.study),
        "origin_by": cell(row.origin.by),
        "origin_tool": cell(row.origin.tool),
        "created": told["created"],
        "retracted": back["at"],
        "reason": cell(back["reason"]),
        **{name: cell(told["model"][name]) for name in _ORIGINS},
        "provenance": _json(told["provenance"]),
    }


def _ends(name: str, value: float | None, ends: list[float] | None) -> dict[str, float | None]:
    low, high = ends or (None, None)
    column = "baseline_fid" if name == "baseline" else name
    return {column: value, f"{name}_low": low, f"{name}_high": high}


def _told(cells: dict[str, str]) -> dict[str, Any]:
    number = {name: None if cells[name] == "" else _number(cells[name]) for name in _NUMBERS}
    fields = {
        name: _value(cells[name])
        for name in Setting.model_fields
        if name != "options" and cells[name] != ""
    }
    setting = Setting.model_validate(fields | {"options": json.loads(cells["options"])})
    lambdas = json.loads(cells["lambdas"])
    levels = json.loads(cells["levels"]) if cells["levels"] else [[None, None]] * len(lambdas)
    table = [
        {"timestep": timestep, "sigma": sigma, "lambda": value}
        for (timestep, sigma), value in zip(levels, lambdas, strict=True)
    ]
    named = ("id", "status", "created")
    return {name: cells[name] for name in named} | {
        "b": number["b"],
        "k": number["k"],
        "n": number["n"],
        "nfe": number["nfe"],
        "lambdas": lambdas,
        "table": table,
        "setting": setting.model_dump(mode="json"),
        "verdict": _text(cells["verdict"]),
        "fid": number["fid"],
        "fid_interval": _pair(number, "fid"),
        "baseline_fid": number["baseline_fid"],
        "baseline_interval": _pair(number, "baseline"),
        "gain": number["gain"],
        "gain_interval": _pair(number, "gain"),
        "gain_level": number["gain_level"],
        "provenance": json.loads(cells["provenance"]),
        "origin": {"by": _text(cells["origin_by"]), "tool": _text(cells["origin_tool"])},
        "model": {name: _text(cells[name]) or None for name in _ORIGINS},
        "retraction": {"at": cells["retracted"], "reason": _text(cells["reason"])}
        if cells["retracted"]
        else None,
    }


def _pair(number: dict[str, float | None], name: str) -> list[float | None] | None:
    ends = [number[f"{name}_low"], number[f"{name}_high"]]
    return None if ends == [None, None] else ends


def _number(cell: str) -> float:
    return int(cell) if cell.removeprefix("-").isdecimal() else float(cell)


def _json(value: Any) -> str:
    return escaped(json.dumps(value, ensure_ascii=False))


def cell(value: Any) -> Any:
    """A value as a cell has it: nothing that a spreadsheet would run, nothing that is not seen."""
    if isinstance(value, dict | list):
        return _json(value)
    if not isinstance(value, str) or (
        value.isprintable() and "\\" not in value and not value.startswith(tuple(_FORMULA))
    ):
        return value
    body = escaped(value.replace("\\", "\\\\"))
    return f"\\u{ord(body[0]):04x}{body[1:]}" if body.startswith(tuple(_FORMULA)) else body


def _text(cell: str) -> str:
    quoted = cell.replace('"', '\\"')
    return str(json.loads(f'"{quoted}"'))


def _value(cell: str) -> Any:
    """A field of a setting: a text, or the JSON of what is none."""
    return json.loads(cell) if cell.startswith(("{", "[")) else _text(cell)
