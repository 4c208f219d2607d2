"""Every table of a page once more for programs: the same address with `.json` or `.csv`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Literal
from typing import TypeAlias

from starlette.responses import Response

from lambda_search.exchange import pieces_of
from lambda_search.exchange.csv_form import cell
from lambda_search.records import Row
from lambda_search.service.linking import FORMS
from lambda_search.service.linking import begun
from lambda_search.service.linking import json_bytes

__all__ = ["Form", "rows_twin", "table_twin"]

Form: TypeAlias = Literal["json", "csv"]


def rows_twin(rows: Iterable[Row], form: Form) -> Response:
    """Rows as `export` writes them, so that they can be imported."""
    return begun(pieces_of(rows, form), form)


def table_twin(lines: Sequence[Mapping[str, Any]], columns: Sequence[str], form: Form) -> Response:
    """Any other table: a list of objects, or lines of cells, of which lists are JSON."""
    if form == "json":
        told = [{name: one[name] for name in columns} for one in lines]
        return Response(json_bytes(told), media_type=FORMS[form])
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(_plain(one[name])) for name in columns] for one in lines)
    return Response(stream.getvalue().encode("utf-8", "replace"), media_type=FORMS[form])


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, tuple) else value
