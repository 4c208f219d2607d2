"""Export: rows of a store as a file, or piece by piece."""

from __future__ import annotations

import codecs
import tempfile
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Literal
from typing import TypeAlias

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import NoScheduleFound
from lambda_search.exchange.csv_form import csv_pieces
from lambda_search.exchange.json_form import json_pieces
from lambda_search.exchange.reading import read_file
from lambda_search.files import written_whole
from lambda_search.records import Row
from lambda_search.remote import Service
from lambda_search.remote import service_at
from lambda_search.store.opened import looking
from lambda_search.store.store import Store

__all__ = ["Form", "export_rows", "pieces", "pieces_of", "text_of"]

Form: TypeAlias = Literal["json", "csv"]


def export_rows(
    to: str | Path,
    store: Store | Service | str | None = None,
    models: Sequence[str] = (),
    form: Form = "json",
) -> int:
    """Writes rows into a file, superseded, retracted and published ones too.

    Arguments:
        to: the file; it is there whole, or stays as it was.
        store: a store or its URL, or the address of a service (http://…); the default store
            unless given. Where there is none yet, the catalogue of published schedules is written.
        models: of these alone; all unless given.
        form: `json`, or `csv` for tables; either can be read again.

    Returns:
        How many rows it has.

    Raises:
        NoScheduleFound: if a model has no row.
        LambdaSearchError: if the file cannot be written.
    """
    path, count = Path(to).expanduser(), 0
    if (service := service_at(store)) is not None:
        with tempfile.TemporaryFile() as came:
            for piece in service.export(models, form):
                came.write(piece)
            came.seek(0)
            rows = read_file(came, service.address)  # what breaks off is not written
        _write(path, _forms[form](rows))
        return len(rows)

    def counted(rows: Iterable[Row]) -> Iterator[Row]:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    with looking(store) as opened:
        _write(path, _forms[form](counted(_rows(opened, models))))
    return count


def _write(path: Path, text: Iterable[str]) -> None:
    try:
        with written_whole(path) as stream:
            for piece in text:
                stream.write(piece.encode())
    except OSError as error:
        raise LambdaSearchError(
            f"{path} cannot be written: {error.strerror}.", "Choose another place."
        ) from error


def pieces(
    store: Store | Service, models: Sequence[str] = (), form: Form = "json"
) -> Iterator[str]:
    """The text of such a file, for who writes it elsewhere; arguments and errors as there."""
    if isinstance(store, Service):
        return codecs.iterdecode(store.export(models, form), "utf-8")
    return _forms[form](_rows(store, models))


def pieces_of(rows: Iterable[Row], form: Form = "json") -> Iterator[str]:
    """The text of a file with these rows alone."""
    return _forms[form](rows)


def text_of(rows: Iterable[Row], form: Form = "json") -> str:
    """The same at once."""
    return "".join(pieces_of(rows, form))


def _rows(store: Store, models: Sequence[str]) -> Iterable[Row]:
    unknown = set(models) - set(store.models())
    if unknown:
        away = "" if store.missing is None else f"There is no store at {store.missing} yet. "
        raise NoScheduleFound(
            f"{away}There is no row of the model '{min(unknown)}'.",
            "Without a name, all rows of the store are exported.",
        )
    if not models:
        return store.all_rows()
    return chain.from_iterable(store.all_rows(model) for model in dict.fromkeys(models))


_forms = {"json": json_pieces, "csv": csv_pieces}
