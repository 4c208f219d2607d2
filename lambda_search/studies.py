"""What is done with studies: submit, stop, wait, rename, remove, retract, and how they are.

The shell, Python and HTTP come through here. It stands on the store, the study files and the
records alone: a host without torch, Optuna, Ray or weights can submit a study.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from lambda_search.earlier import changed
from lambda_search.errors import Conflict
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.errors import printable
from lambda_search.events import Events
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.shell import command
from lambda_search.spec import SERVICE
from lambda_search.spec import Bounds
from lambda_search.spec import StudySpec
from lambda_search.spec import Written
from lambda_search.spec import attachments
from lambda_search.spec import check_names
from lambda_search.spec import named_files
from lambda_search.spec import parse_specs
from lambda_search.spec import read_specs
from lambda_search.store import upkeep
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store

__all__ = [
    "Named",
    "nobody_drives",
    "nobody_drives_now",
    "post",
    "resume",
    "remove",
    "rename",
    "retract",
    "stop",
    "submit",
    "submit_written",
    "wait",
    "written",
]

Named: TypeAlias = StudySpec | str | Path | Sequence[StudySpec]
"""A study, several, or the path of a study file or a folder of them."""

_POLL_SECONDS = 0.5
_MOST_RUNNING = 10_000
_TAKEOVER_SECONDS = 10.0
"""For how long a study that lost its driver is given to another, who may be idle."""


def submit(studies: Named, store: Store | str | None = None) -> list[Study]:
    """Queues studies; `lambda-search drive` runs them, wherever it is started.

    Only the study's file is needed, not its weights. Config and prompt files that it names are
    stored with it; other relative names are looked up where it is driven. A study that failed or
    was stopped is queued again; what was computed is kept.

    Arguments:
        studies: a study, several, or the path of a study file or a folder of them.
        store: a store or its URL; the default store unless given.

    Raises:
        UsageError: for anything that is wrong with the files, if one has become another study
            than that of its name in the store, or if a driver is at work on one of them with
            another file. Then none is queued.
    """
    with _opened(store, make=True) as opened:
        return submit_written(written(studies), opened)


def written(*several: Named) -> list[Written]:
    """Studies as their files have them.

    Raises:
        UsageError: for anything that is wrong with the files, or if two studies have one name.
    """
    found: list[Written] = []
    for studies in several:
        if isinstance(studies, str | Path):
            found += read_specs(Path(studies))
        else:
            specs = [studies] if isinstance(studies, StudySpec) else studies
            found += [Written(spec, Path.cwd()) for spec in specs]
    check_names(one.spec for one in found)
    return found


def submit_written(studies: Iterable[Written], store: Store) -> list[Study]:
    """Queues studies that were read; errors as in `submit`."""
    studies = list(studies)
    check_names(one.spec for one in studies)
    files = [attachments(one.spec, one.base) for one in studies]
    return _queued(studies, files, store)


def post(
    text: str | bytes, files: Mapping[str, bytes], store: Store, bounds: Bounds
) -> list[Study]:
    """Queues the studies of a file that came through a service, and bounds what they may name.

    Nothing of this host is read for them, but that files which they name lie in the roots.

    Arguments:
        text: the study file (YAML).
        files: the config and prompt files that it names, by the names that it has for them.
        store: where they are queued.
        bounds: what they may name.

    Raises:
        UsageError: as `submit`, and for what they may not name.
    """
    specs = parse_specs(text, "the study file")
    check_names(specs)
    carried = [named_files(spec, files) for spec in specs]
    unused = set(files).difference(*carried)
    if unused:
        raise UsageError(
            f"No study names the file {printable(min(unused))}.", "Send what the study names."
        )
    for spec, own in zip(specs, carried, strict=True):
        bounds.check(spec, own)
    return _queued([Written(spec, Path()) for spec in specs], carried, store, SERVICE)


def _queued(
    studies: Sequence[Written],
    files: Sequence[Mapping[str, bytes]],
    store: Store,
    door: str = "",
) -> list[Study]:
    queue = Queue(store)
    for one in studies:
        queue.check(one.spec.name, one.spec.to_yaml())
    differing = {one.study: one for one in changed(studies, store)}
    queued = []
    for one, carried in zip(studies, files, strict=True):
        spec = one.spec
        base = "" if door else str(one.base)
        queued.append(queue.submit(spec.name, spec.to_yaml(), base, carried, door))
        events = Events(spec.name, [store.say])
        if spec.name in differing and queued[-1].spec == spec.to_yaml():
            told = "; ".join(str(field) for field in differing[spec.name].fields)
            events.say("warning", f"its file was changed: {told}")
        if queued[-1].state == "queued":
            events.say("queued", "waits for a driver")
    return queued


def stop(name: str, store: Store | str | None = None) -> Study:
    """Asks the driver of a study to stop it, or takes it out of the queue; nothing is lost.

    Raises:
        UsageError: if there is no such study, or it has ended.
    """
    with _opened(store) as opened:
        stopped = Queue(opened).stop(name)
        if stopped.state == "stopped":
            Events(name, [opened.say]).say("stopped", stopped.message)
        return stopped


def resume(name: str, store: Store | str | None = None) -> Study:
    """Queues a study that failed or was stopped again, as it was submitted.

    Raises:
        UsageError: if there is no such study, or it is done.
    """
    with _opened(store) as opened:
        study = opened.study(name)
        if study.state == "done":
            raise Conflict(
                f"The study '{name}' is done.",
                f"To extend it, change its file and submit that: {command('submit', 'STUDY')}",
            )
        if study.state == "queued" or (not study.stop_wanted and opened.is_driven(study)):
            return study
        again = Queue(opened).requeue(name)
        Events(name, [opened.say]).say("queued", "waits for a driver again")
        return again


def wait(name: str, store: Store | str | None = None) -> Row:
    """Waits until a study ends; its row.

    Raises:
        UsageError: if there is no such study.
        LambdaSearchError: if it fails, is stopped, or has lost its driver and nobody drives.
    """
    with _opened(store) as opened:
        driven = time.monotonic()
        while (study := opened.study(name)).state in ("queued", "running"):
            if study.state == "queued" or not nobody_drives(opened):
                driven = time.monotonic()
            elif time.monotonic() - driven > _TAKEOVER_SECONDS:
                raise LambdaSearchError(
                    f"The study '{name}' has no driver any more.",
                    f"It goes on with a driver where its weights are: {command('drive')}",
                )
            time.sleep(_POLL_SECONDS)
        if study.state != "done":
            raise LambdaSearchError(
                f"The study '{name}' is {study.state}: {study.message}",
                f"It goes on with: {command('resume', name)}",
            )
        return opened.rows(study.id)[-1]


def retract(row: str, reason: str, store: Store | str | None = None) -> Row:
    """Takes a row of the lookup table back; it stays in the record, with the reason.

    Arguments:
        row: its id, or the first digits of it.
        reason: why; for people.
        store: a store or its URL; the default store unless given.

    Raises:
        UsageError: if there is no such row, it was taken back before, or no reason is given.
    """
    if not reason.strip():
        raise UsageError("A retraction needs a reason.", "Say why the row is wrong.")

    with _opened(store) as opened:
        taken_back = opened.retract(row, reason.strip())
        study = taken_back.provenance.study
        if study:
            text = f"row {taken_back.id[:12]} was taken back: {reason.strip()}"
            Events(study, [opened.say]).say("retracted", text)
        return taken_back


def rename(name: str, new: str, store: Store | str | None = None) -> Study:
    """Gives a study another name; its trials go with it, its rows stay as they are.

    The model's name in the lookup table stays too: where the study's file left it to the study's
    name, it is written out.

    Raises:
        UsageError: if there is no such study, a driver is at work on it, or the new name is none
            or taken.
    """
    with _opened(store) as opened:
        [spec] = parse_specs(opened.study(name).spec, f"the study '{name}'")
        renamed = spec.renamed(new)
        study = upkeep.rename(opened, name, new, renamed.to_yaml())
        Events(new, [opened.say]).say("renamed", f"it was named {name} before")
        return study


def remove(name: str, store: Store | str | None = None) -> list[Row]:
    """Removes a study with its trials and events; what it proved stays in the lookup table.

    Returns:
        Its rows, which stay, the oldest first; they can be retracted.

    Raises:
        UsageError: if there is no such study, or a driver is at work on it.
    """
    with _opened(store) as opened:
        rows = opened.rows(opened.study(name).id)
        upkeep.remove(opened, name)
        return rows


def nobody_drives(store: Store) -> bool:
    """Whether studies wait, and no living driver is at work on any study of the store."""
    running, _ = store.studies_page(_MOST_RUNNING, states=("running",))
    waiting = bool(running) or "queued" in store.states()
    return waiting and not any(store.is_driven(study) for study in running)


def nobody_drives_now() -> str:
    """What to tell who asks for it; a driver that waits for studies is not known to the store."""
    return (
        "Nobody drives a study of this store now. Unless a driver is waiting for studies, start "
        f"one where the weights are, with: {command('drive')}"
    )


@contextmanager
def _opened(store: Store | str | None, make: bool = False) -> Iterator[Store]:
    """A store that was given, or one that is closed in the end; it is made only if asked for."""
    if isinstance(store, Store):
        yield store
        return
    opened = Store(store) if make else Store.look(store)
    try:
        yield opened
    finally:
        opened.close()
