"""`reference`: statistics of real images, made, marked and listed."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer
from rich.progress import BarColumn
from rich.progress import MofNCompleteColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeRemainingColumn
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.examples import example
from lambda_search.cli.options import AsJson
from lambda_search.errors import Interrupted
from lambda_search.errors import MissingFile
from lambda_search.files import saving
from lambda_search.paths import references_folder
from lambda_search.shell import command
from lambda_search.spec.drafting import on_one_line

if TYPE_CHECKING:
    from lambda_search.metrics.references.installed import Kept

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Statistics of real images: make, mark and list them."
)

ExtractorName = Annotated[
    str,
    typer.Option(
        "--extractor",
        envvar="LAMBDA_SEARCH_EXTRACTOR",
        metavar="NAME",
        help="inception-clean, inception-legacy, clip-vit-b32, dinov2, bundled, NAME:PATH, or "
        "the path of your own.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(envvar="LAMBDA_SEARCH_DEVICE", help=r"\[default: cuda if there is one]"),
]
_ELSEWHERE = "Choose another place with --out."
_STYLES = {"ready": "", "unfinished": "yellow", "damaged": "yellow"}
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE.npz", help="A file to take elsewhere."),
]


@app.command(epilog=example("reference make"))
def make(
    images: Annotated[
        str, typer.Argument(help="A folder, a .zip, or an .npz with arr_0, uint8, n × h × w × c.")
    ],
    extractor: ExtractorName,
    to: Out = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Compute the statistics of images; the same command goes on where it stopped."""
    from lambda_search.metrics.extractors.registry import load_extractor
    from lambda_search.metrics.references.doubts import doubts
    from lambda_search.metrics.references.load import IMAGES
    from lambda_search.metrics.references.load import load_reference
    from lambda_search.metrics.references.statistics import write_statistics
    from lambda_search.models.registry import device_of

    images = images.removeprefix(IMAGES)
    name = f"{IMAGES}{images}"
    if not Path(images).expanduser().exists():
        raise MissingFile(f"There is nothing at {images}.", "Name a folder, a .zip or an .npz.")
    if to is not None:
        _check_out(to)
    with working("reading images"):
        chosen = load_extractor(extractor, device_of(device))
        found = load_reference(name, chosen, cache=references_folder())
    err.print(Text(found.summary))
    for caution in doubts(found, None):
        err.print(Text(f"caution  {caution}", style="yellow"))
    try:
        with _Bar() as bar:
            statistics = found.load(bar)
    except KeyboardInterrupt:
        raise Interrupted(
            "What was kept so far is not lost.", "Go on with the same command."
        ) from None
    if to is not None:
        with saving(to, _ELSEWHERE):
            to.parent.mkdir(parents=True, exist_ok=True)
            write_statistics(to, statistics)
    named = str(to.absolute()) if to is not None else f"{IMAGES}{_absolute(images)}"
    shown = {
        "reference": named,
        "images": statistics.count,
        "dim": found.dim,
        "extractor": _extractor_anywhere(extractor),
        "extractor_fingerprint": chosen.fingerprint,
        "fingerprint": found.fingerprint if to is None else statistics.fingerprint,
        "read": found.summary,
        "cautions": list(doubts(found, None)),
    }
    if as_json:
        print_json(shown)
        return
    out.print(
        f"{statistics.count:,} images, {found.dim} features each, {chosen.name}"
        f"@{chosen.fingerprint[:12]}"
    )
    told = {key: shown[key] for key in ("extractor", "reference")}
    out.print(Text(f"\nIn a study file:\nmetric: {on_one_line(told)}"))


@app.command(epilog=example("reference mark"))
def mark(
    file: Annotated[Path, typer.Argument(help="An .npz with mu and sigma.")],
    extractor: ExtractorName,
    to: Out = None,
) -> None:
    """Say which extractor made a file of statistics that does not say it."""
    import torch

    from lambda_search.metrics.extractors.registry import load_extractor
    from lambda_search.metrics.references.statistics import mark as copy

    target = to or file.with_name(f"{file.stem}-marked.npz")
    _check_out(target)
    with working("reading"):
        copy(file, load_extractor(extractor, torch.device("cpu")), str(file), target)
    out.print(str(target))
    err.print(f"the copy says that {extractor} made it; name it in study files")


@app.command(name="list", epilog=example("reference list"))
def list_(as_json: AsJson = False) -> None:
    """Show the references of this machine, with what made them."""
    from lambda_search.metrics.references.installed import kept_references

    with working("reading"):
        found = list(kept_references(references_folder()))
    if as_json:
        print_json([asdict(one) for one in found])
        return
    headings = ("images", "d", "extractor", "fingerprint", "made", "reference")
    rows = [headings, *(_cells(one) for one in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # No table of rich's: it would cut the names, and they are there to be copied.
    for row, style in zip(rows, ["dim", *(_STYLES[one.state] for one in found)], strict=True):
        padded = (f"{cell:{side}{w}}" for cell, side, w in zip(row, ">><<<<", widths, strict=True))
        out.print(Text("  ".join(padded).rstrip(), style))
    make = command("reference", "make", "FOLDER", "--extractor", "NAME")
    err.print(Text(f"\nnext: {make}", style="dim"))


def _cells(one: Kept) -> tuple[str, ...]:
    return (
        "–" if one.count is None else f"{one.count:,}",
        str(one.dim or "–"),
        one.extractor or "–",
        one.fingerprint[:12],
        f"{one.made:%Y-%m-%d}",
        one.name if one.state == "ready" else f"{one.state}: {one.name}",
    )


class _Bar:
    """Progress on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("features"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=err,
            disable=not err.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("features", total=None)
        self._told = 0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)
        if not err.is_terminal and 10 * done // total > self._told:
            self._told = 10 * done // total
            err.print(f"{done:,} of {total:,} images")


def _check_out(path: Path) -> None:
    """Raises before anything is computed if `path` cannot be written; leaves nothing there."""
    with saving(path, _ELSEWHERE):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass


def _absolute(place: str) -> str:
    return str(Path(place).expanduser().absolute())


def _extractor_anywhere(name: str) -> str:
    """`name` as a study file in any folder may say it."""
    from lambda_search.spec import EXTRACTOR_FILES

    named, colon, place = name.partition(":")
    if colon:
        return f"{named}:{_absolute(place)}"
    return _absolute(name) if "/" in name or name.endswith(EXTRACTOR_FILES) else name
