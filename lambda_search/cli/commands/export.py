"""`export`: rows as JSON or CSV, and studies as Optuna's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from typing import Any
from typing import Literal

import typer
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.console import working
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.reading import look
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.files import written_whole
from lambda_search.records import Interval
from lambda_search.records import Row
from lambda_search.store.store import Store

__all__ = ["export"]


def export(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]…",
            help=r"Models; with --format optuna, studies. \[default: all]",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        Literal["json", "csv", "optuna"],
        typer.Option(
            "--format",
            envvar="LAMBDA_SEARCH_FORMAT",
            help="Rows of the lookup table as json or csv, or studies as Optuna's.",
        ),
    ] = "json",
    to: Annotated[
        str | None,
        typer.Option(
            envvar="LAMBDA_SEARCH_TO",
            metavar="FILE|URL",
            help="Where to. With optuna: sqlite:///PATH, postgresql://…, or a journal file. "
            r"\[default: stdout]",
        ),
    ] = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(
            envvar="LAMBDA_SEARCH_ARTIFACTS",
            metavar="DIR",
            help="With optuna: also the trials' pictures, for optuna-dashboard --artifact-dir.",
        ),
    ] = None,
    store: StoreUrl = None,
) -> None:
    """Write rows for programs and tables, or copy studies into an Optuna storage of your own.

    A copy in Optuna's storage is yours: one that you changed is never overwritten, and nor is a
    study of the same name that is no copy of this one.
    """
    opened = look(store)
    if form == "optuna":
        _copy(opened, names or [], to, artifacts)
        return
    if artifacts is not None:
        raise UsageError(f"Rows as {form} have no pictures.", "Leave --artifacts out.")
    rows = _rows(opened, names or [])
    _write(_as_json(rows) if form == "json" else _as_csv(rows), to)
    if to is not None:
        err.print(Text(f"{len(rows)} rows in {to}"))


def _copy(store: Store, names: Sequence[str], to: str | None, artifacts: Path | None) -> None:
    import optuna

    from lambda_search.store.optuna_view.copying import copy_studies

    if to is None:
        raise UsageError(
            "An export to Optuna needs a storage.", "Name one with: --to sqlite:///copy.db"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    named = names or [study.name for study in reversed(store.studies())]
    with working("copying"):
        copies = copy_studies(store, list(dict.fromkeys(named)), to, artifacts)
    for one in copies:
        err.print(Text(f"{one.name}: {one.trials} trials, {one.outcome}"))


def _rows(store: Store, models: Sequence[str]) -> list[Row]:
    """The rows that stand, by model, the newest first."""
    found: list[Row] = []
    for model in dict.fromkeys(models):
        rows = store.lookup_rows(model)
        if not rows:
            raise NoScheduleFound(
                f"There is no row of the model '{model}'.",
                "Without a name, all rows of the store are exported.",
            )
        found += rows
    return found or sorted(store.lookup_rows(), key=lambda row: row.setting.model)


def _as_json(rows: Sequence[Row]) -> str:
    return json.dumps([row.to_json() for row in rows], indent=2, ensure_ascii=False) + "\n"


def _as_csv(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    table = [_record(row) for row in rows]
    writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return stream.getvalue()


def _record(row: Row) -> dict[str, Any]:
    """A row as one line of a table; what is not known is empty."""
    setting = row.setting
    return {
        "id": row.id,
        "model": setting.model,
        "framework": setting.framework,
        "weights": setting.weights,
        "sampler": setting.sampler,
        "steps": setting.steps,
        "nfe": row.nfe,
        "guidance": setting.guidance,
        "site": setting.site,
        "options": json.dumps(setting.options.model_dump(mode="json", exclude_none=True)),
        "b": row.schedule.b,
        "k": row.schedule.k,
        "lambdas": json.dumps(row.lambdas),
        "status": row.status,
        "verdict": row.verdict,
        "n": row.n,
        "fid": row.fid,
        **_ends("fid", row.fid_interval),
        "baseline_fid": row.baseline_fid,
        **_ends("baseline", row.baseline_interval),
        "gain": row.gain,
        **_ends("gain", row.gain_interval),
        "gain_level": None if row.gain_interval is None else row.gain_interval.level,
        "metric": setting.metric,
        "extractor": setting.extractor,
        "reference": setting.reference,
        "study": row.provenance.study,
        "origin_by": row.origin.by,
        "origin_tool": row.origin.tool,
        "created": row.created.isoformat(),
    }


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return {f"{name}_low": low, f"{name}_high": high}


def _write(text: str, to: str | None) -> None:
    if to is None:
        print(text, end="")
        return
    if "://" in to:
        raise UsageError(
            f"{to.split('://')[0]}:// is no file.",
            "Rows go into a file; --format optuna copies studies into a database.",
        )
    path = Path(to).expanduser()
    try:
        with written_whole(path) as stream:
            stream.write(text.encode())
    except OSError as error:
        raise LambdaSearchError(
            f"{path} cannot be written: {error.strerror}.", "Choose another place with --to."
        ) from error
