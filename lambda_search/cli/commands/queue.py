"""`submit`, `stop`, `resume`, `wait` and `retract`: the door to studies, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lambda_search import studies as door
from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.reading import look
from lambda_search.cli.rows import row_panel
from lambda_search.records import Study
from lambda_search.store.store import Store

__all__ = ["resume", "retract", "stop", "submit", "submit_files", "wait"]

Name = Annotated[str, typer.Argument(help="The study's name.")]


def submit(
    studies: Annotated[
        list[Path], typer.Argument(metavar="STUDY...", help="Study files, or folders of them.")
    ],
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Queue studies for `drive`; their files are enough, weights need not be here."""
    submit_files(studies, store, as_json)


def submit_files(studies: list[Path], store: str | None, as_json: bool) -> None:
    """Queues study files and says what becomes of them."""
    written = [one for path in studies for one in door.written(path)]
    opened = Store(store)
    queued = door.submit_written(written, opened)
    if as_json:
        print_json([{"study": study.name, "state": study.state} for study in queued])
    else:
        for study in queued:
            out.print(Text(f"{study.name}  {study.state}"))
    if door.nobody_drives(opened):
        err.print(door.NOBODY_DRIVES)


def stop(study: Name, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Stop a study, or take it out of the queue; nothing that was computed is lost."""
    stopped = door.stop(study, look(store))
    words = (
        "stopped"
        if stopped.state == "stopped"
        else f"will be stopped: its driver, {stopped.driver}, has been asked"
    )
    _tell(stopped, words, as_json)


def resume(study: Name, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Queue a study again that failed or was stopped; it goes on where it was."""
    opened = look(store)
    again = door.resume(study, opened)
    _tell(again, again.state, as_json)
    if door.nobody_drives(opened):
        err.print(door.NOBODY_DRIVES)


def wait(study: Name, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Wait until a study ends, and show its row."""
    opened = look(store)
    if door.nobody_drives(opened):
        err.print(door.NOBODY_DRIVES)
    with working(f"waiting for {study}"):
        row = door.wait(study, opened)
    if as_json:
        print_json(row.to_json())
    else:
        out.print(row_panel(row))


def retract(
    row: Annotated[str, typer.Argument(help="The row's id, or the start of it.")],
    reason: Annotated[str, typer.Option(help="Why it is wrong, for people.")],
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Take a row of the lookup table back; it stays in the record, with the reason."""
    taken_back = door.retract(row, reason, look(store))
    if as_json:
        print_json(taken_back.to_json())
    else:
        out.print(Text(f"row {taken_back.id[:12]} no longer answers: {reason}"))


def _tell(study: Study, words: str, as_json: bool) -> None:
    if as_json:
        print_json({"study": study.name, "state": study.state})
    else:
        out.print(Text(f"{study.name}  {words}"))
