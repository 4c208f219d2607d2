"""`models`: what a checkpoint is, and safe copies of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from typing import TypeAlias

import typer
from rich.table import Table
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.examples import example
from lambda_search.cli.options import AsJson
from lambda_search.spec.drafting import on_one_line

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Look at checkpoints and convert them.")

File: TypeAlias = Annotated[
    str, typer.Argument(help="A checkpoint file, a pipeline folder, or bundled:NAME.")
]
ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="JSON or YAML with the framework's own options, where the file does not hold them.",
    ),
]


@app.command(epilog=example("models inspect"))
def inspect(file: File, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say what a checkpoint is, and how a study file names it."""
    from lambda_search.models.inspection import Description
    from lambda_search.models.inspection import inspect as look

    with working("reading"):
        found: Description = look(file, config)
    if as_json:
        print_json(asdict(found))
        return
    table = Table.grid(padding=(0, 2))
    shape = found.shape and f"{found.shape[1]} × {found.shape[2]}, {_channels(found.shape[0])}"
    rows = {
        "framework": found.framework,
        "parameters": f"{found.parameters:,}",
        "samples": shape,
        "conditioning": found.conditioning,
        "samplers": ", ".join(found.samplers) or None,
        "licence": f"{found.licence}: that of the published weights; the file does not say",
        "missing": found.missing,
    }
    for name, value in rows.items():
        if value is not None:
            table.add_row(Text(name, "dim"), Text(value))
    out.print(table)
    told = {"framework": found.framework, "checkpoint": file}
    if config or found.missing:
        told["config"] = str(config or "FLAGS.json")
    out.print(f"\nIn a study file:\nmodel: {on_one_line(told)}")


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


@app.command(epilog=example("models convert"))
def convert(
    file: File,
    to: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help=r"The copy. \[default: beside the original]"),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Copy a checkpoint's weights to safetensors, with JSON that says what they are."""
    from lambda_search.models.inspection import convert as copy

    with working("converting"):
        written = copy(file, to, config)
    out.print(str(written))
    err.print(f"and {written.with_suffix('.json').name} beside it; the same framework reads it.")
