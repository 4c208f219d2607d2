"""What is done with studies: submit, stop, confirm, wait, rename, remove, retract, how they are.

The shell, Python and HTTP come through here. It stands on the store, the study files and the
records alone: a host without torch, Optuna, Ray or weights can submit a study.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from lambda_search.errors import Conflict
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.events import Events
from lambda_search.proofs import ask_for_proof
from lambda_search.proofs import proof_wanted
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.remote import PatientService
from lambda_search.remote import Service
from lambda_search.remote import no_store
from lambda_search.remote import service_at
from lambda_search.shell import command
from lambda_search.spec import check_names
from lambda_search.spec import parse_specs
from lambda_search.store import upkeep
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.store.waiting import requeue
from lambda_search.submitting import Named
from lambda_search.submitting import post
from lambda_search.submitting import submit_from_afar
from lambda_search.submitting import submit_written
from lambda_search.submitting import written

__all__ = [
    "Named",
    "confirm",
    "nobody_drives",
    "nobody_drives_now",
    "post",
    "proof_wanted",
    "resume",
    "remove",
    "rename",
    "retract",
    "stop",
    "submit",
    "submit_from_afar",
    "submit_written",
    "wait",
    "written",
]

Where: TypeAlias = Store | Service | str | None
_POLL_SECONDS, _POLL_SECONDS_AFAR = 0.5, 2.0
_TAKEOVER_SECONDS = 10.0
"""For how long a study that lost its driver is given to another, who may be idle."""


def submit(studies: Named, store: Where = None) -> list[Study]:
    """Queues studies; `lambda-search drive` runs them, wherever it is started.

    Only the study's file is needed, not its weights. Config and prompt files that it names are
    stored with it; other relative names are looked up where it is driven. A study that failed or
    was stopped is queued again; what was computed is kept.

    Arguments:
        studies: a study, several, or the path of a study file or a folder of them.
        store: a store or its URL, or the address of a service (http://…); the default store
            unless given.

    Raises:
        UsageError: for anything that is wrong with the files, if one has become another study
            than that of its name in the store, or if a driver is at work on one of them with
            another file. Then none is queued.
    """
    several = written(studies)
    if (service := service_at(store)) is not None:
        return submit_from_afar(several, service)
    with _opened(store, make=True) as opened:
        return submit_written(several, opened)


def stop(name: str, store: Where = None) -> Study:
    """Asks the driver of a study to stop it, or takes it out of the queue; nothing is lost.

    Raises:
        UsageError: if there is no such study, or it has ended.
    """
    if (service := service_at(store)) is not None:
        return service.stop(name)
    with _opened(store) as opened:
        stopped = Queue(opened).stop(name)
        if stopped.state != "running":
            Events(name, [opened.say]).say("stopped", stopped.message or "no proof is wanted now")
        return stopped


def resume(name: str, store: Where = None) -> Study:
    """Queues a study that failed or was stopped again, as it was submitted.

    Raises:
        UsageError: if there is no such study, or it is done.
    """
    if (service := service_at(store)) is not None:
        return service.resume(name)
    with _opened(store) as opened:
        study = opened.study(name)
        if study.state == "done":
            raise Conflict(
                f"The study '{name}' is done.",
                f"To extend it, change its file and submit that: {command('submit', 'STUDY')}",
            )
        if study.state == "queued" or (not study.stop_wanted and opened.is_driven(study)):
            return study
        again = requeue(opened, name)
        Events(name, [opened.say]).say("queued", "waits for a driver again")
        return again


def confirm(
    name: str,
    store: Where = None,
    *,
    samples: int | None = None,
    precision: float | str | None = None,
    top: int | None = None,
) -> Study:
    """Asks for a proof of a finished study, again or further; `lambda-search drive` makes it.

    Nothing is searched, and its file stays as it is. Until the proof is there, and whatever
    becomes of it, the study's row answers as before.

    Arguments:
        name: the study's.
        store: a store or its URL, or the address of a service (http://…); the default store
            unless given.
        samples, precision, top: as in `confirm` of a study file; as in the study's unless given.

    Raises:
        UsageError: if there is no such study, it has not ended, has nothing to confirm, cannot be
            confirmed so, or (Conflict) a driver is at work on it.
    """
    told = {"samples": samples, "precision": precision, "top": top}
    if (service := service_at(store)) is not None:
        return service.confirm(name, told)
    with _opened(store) as opened:
        return ask_for_proof(name, opened, **told)


def wait(name: str, store: Where = None, tell: Callable[[str], None] | None = None) -> Row:
    """Waits until a study ends; its row. A service that is away for some minutes is waited for.

    Arguments:
        name: the study's.
        store: a store or its URL, or the address of a service (http://…); the default store
            unless given.
        tell: is told, once, that the service is away.

    Raises:
        UsageError: if there is no such study.
        LambdaSearchError: if it fails, is stopped, or has lost its driver and nobody drives.
    """
    if (service := service_at(store)) is not None:
        patient = PatientService(service.address, tell or (lambda _: None))
        return patient.row_of(_ended(name, patient, _POLL_SECONDS_AFAR).name)
    with _opened(store) as opened:
        return opened.rows(_ended(name, opened, _POLL_SECONDS).id)[-1]


def _ended(name: str, store: Store | Service, pause: float) -> Study:
    """The study, once it is done; errors as in `wait`."""
    driven = time.monotonic()
    while (study := store.study(name)).state in ("queued", "running"):
        if study.state == "queued" or not nobody_drives(store):
            driven = time.monotonic()
        elif time.monotonic() - driven > _TAKEOVER_SECONDS:
            raise LambdaSearchError(
                f"The study '{name}' has no driver any more.",
                f"It goes on with a driver where its weights are: {command('drive')}",
            )
        time.sleep(pause)
    if study.state != "done":
        raise LambdaSearchError(
            f"The study '{name}' is {study.state}: {study.message}",
            f"It goes on with: {command('resume', name)}",
        )
    return study


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
        check_names([renamed])
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


def nobody_drives(store: Store | Service) -> bool:
    """Whether studies wait, and no living driver is at work on any study of the store."""
    if isinstance(store, Service):
        return store.nobody_drives()
    return not {"queued", "running"}.isdisjoint(store.states()) and not store.driven()


def nobody_drives_now() -> str:
    """What to tell who asks for it; a driver that waits for studies is not known to the store."""
    return (
        "Nobody drives a study of this store now. Unless a driver is waiting for studies, start "
        f"one where the weights are, with: {command('drive')}"
    )


@contextmanager
def _opened(store: Where, make: bool = False) -> Iterator[Store]:
    """A store that was given, or one that is closed in the end; it is made only if asked for."""
    if isinstance(store, Store):
        yield store
        return
    if isinstance(store, Service):
        raise no_store()
    opened = Store(store) if make else Store.look(store)
    try:
        yield opened
    finally:
        opened.close()
