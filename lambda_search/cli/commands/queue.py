"""`submit`, `stop`, `wait`, `rename`, `remove` …: what is done with studies, without torch."""

from __future__ import annotations

import sys
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
from lambda_search.cli.reading import ask
from lambda_search.cli.reading import look
from lambda_search.cli.rows import row_panel
from lambda_search.earlier import changed
from lambda_search.errors import UsageError
from lambda_search.records import Study
from lambda_search.remote import Service
from lambda_search.remote import service_at
from lambda_search.shell import command
from lambda_search.spec import Written
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store

__all__ = [
    "remove",
    "rename",
    "resume",
    "retract",
    "show_changes",
    "show_state",
    "stop",
    "submit",
    "submit_files",
    "wait",
]

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
    written = door.written(*studies)
    opened: Store | Service = service_at(store) or Store(store)
    if isinstance(opened, Service):
        queued = door.submit_from_afar(written, opened)
    else:
        show_changes(written, opened)
        queued = door.submit_written(written, opened)
    if as_json:
        print_json([{"study": study.name, "state": study.state} for study in queued])
    else:
        for study in queued:
            out.print(Text(f"{study.name}  {study.state}"))
    if door.nobody_drives(opened):
        err.print(Text(door.nobody_drives_now()))


def show_changes(studies: list[Written], store: Store) -> None:
    """Says what differs from the files that are stored, and which trials still count.

    Raises:
        UsageError: if one has become another study than that of its name.
    """
    for one in changed(studies, store):
        for line in one.lines:
            err.print(Text(line))


def stop(study: Name, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Stop a study, or take it out of the queue; nothing that was computed is lost."""
    stopped = door.stop(study, ask(store))
    words = (
        "stopped"
        if stopped.state != "running"
        else f"will be stopped: its driver, {stopped.driver}, has been asked"
    )
    show_state(stopped, words, as_json)


def resume(study: Name, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Queue a study again that failed or was stopped; it goes on where it was."""
    opened = ask(store)
    again = door.resume(study, opened)
    show_state(again, again.state, as_json)
    if door.nobody_drives(opened):
        err.print(Text(door.nobody_drives_now()))


def rename(
    study: Name,
    new: Annotated[str, typer.Argument(help="Its new name.")],
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Give a study another name; its trials go with it, and its rows answer as before."""
    renamed = door.rename(study, new, look(store))
    show_state(renamed, renamed.state, as_json)
    [spec] = parse_specs(renamed.spec)
    err.print(Text(f'In its file, write "name: {new}" and, in model, "name: {spec.model.name}".'))


def remove(
    study: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Remove a study with its trials; the rows that it made go on answering."""
    opened = look(store)
    found = opened.study(study)
    if not yes:
        if not (sys.stdin.isatty() and err.is_terminal):
            raise UsageError(
                f"Removing '{study}' cannot be undone, and there is nobody to ask.",
                f"Say it with: {command('remove', study, '--yes')}",
            )
        trials = len(opened.trials(found.id))
        if not typer.confirm(f"Remove '{study}' ({found.state}, {trials} trials)?", err=True):
            raise typer.Exit(1)
    rows = door.remove(study, opened)
    if as_json:
        print_json({"study": study, "rows": [row.id for row in rows]})
        return
    out.print(Text(f"{study}  removed"))
    for row in rows:
        if row.retraction is None:
            back = command("retract", row.id[:12], "--reason", "WHY")
            err.print(Text(f"row {row.id[:12]} still answers; take it back with: {back}"))


def wait(study: Name, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Wait until a study ends, and show its row."""
    opened = ask(store)
    if door.nobody_drives(opened):
        err.print(Text(door.nobody_drives_now()))
    with working(f"waiting for {study}"):
        row = door.wait(study, opened, tell=lambda words: err.print(Text(words)))
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


def show_state(study: Study, words: str, as_json: bool) -> None:
    """Says what became of a study."""
    if as_json:
        print_json({"study": study.name, "state": study.state})
    else:
        out.print(Text(f"{study.name}  {words}"))
