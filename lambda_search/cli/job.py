"""`--submit`: the same command, run by a Ray cluster's head as a job whose log is shown here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import typer

from lambda_search.cli.console import debugging
from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.downloads import offline
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.errors import without_secrets
from lambda_search.paths import LUGGAGE
from lambda_search.paths import is_address
from lambda_search.paths import store_url
from lambda_search.spec import packed
from lambda_search.store.address import Address

__all__ = ["check_alone", "options", "submit_job"]

_PLACES = ("--features", "--models", "--roots")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NOT_FOUND = 127


def submit_job(
    address: str,
    name: str,
    words: Sequence[str],
    store: str | None,
    as_json: bool,
    studies: Sequence[Path] = (),
) -> None:
    """Has a head run `lambda-search NAME STUDIES… WORDS…` on its cluster; its log is shown.

    Arguments:
        address: of the head's dashboard.
        name: of the command.
        words: its options.
        store: the address of its store, as it was given; the head's own unless one is named.
        as_json: whether stdout is for JSON, and the log for stderr.
        studies: study files, or folders of them; they travel with what they name.

    Raises:
        UsageError: if it cannot be submitted, or would not find what it names.
        Interrupted: on Ctrl-C, and if the job was stopped.
        LambdaSearchError: if it did not come to an exit code.
    """
    from lambda_search.cluster.jobs import Jobs

    named = _store_words(store, address)
    _check_places(words)
    with tempfile.TemporaryDirectory(prefix="lambda-search-") as folder:
        archive = Path(folder) / "studies.zip"
        files = packed(studies, archive) if studies else []
        with working("submitting"):
            jobs = Jobs(address)
            job = jobs.submit(
                ["lambda-search", name, *files, *words, *named, "--ray-address", "auto"],
                archive if studies else None,
                {name: "1" for name, on in _switches(bool(studies)) if on},
            )
    shown = without_secrets(jobs.address)
    rows = f"{named[-1]}, as the head sees it" if named else "the head's own store"
    screen = err if as_json else out
    try:
        err.print(
            f"submitted as {job} to {shown}; its rows go to {rows}; Ctrl-C leaves it running"
        )
        ended = jobs.follow(job, lambda text: screen.print(text, end=""))
    except KeyboardInterrupt:
        raise Interrupted(
            f"The log is not followed any more; the job {job} goes on.",
            f"Follow it with: {jobs.look(job)}\nEnd it with: {jobs.end(job)}",
        ) from None
    if as_json:
        print_json({"job": job, "address": shown, "status": ended.status})
    if ended.status == "STOPPED":
        raise Interrupted(
            f"The job {job} was stopped; nothing that was computed is lost.",
            "Go on with the same command.",
        )
    if ended.code is None and ended.status != "SUCCEEDED":
        raise LambdaSearchError(
            f"The job {job} failed: {without_secrets(ended.message).strip().rstrip('.')}.",
            f"Its log: {jobs.look(job)}",
        )
    if ended.code == _NOT_FOUND:
        raise LambdaSearchError(
            f"The head at {jobs.address} does not find the command lambda-search.",
            "Install it there, and start Ray with its folder in PATH.",
        )
    if ended.code is not None and ended.code < 0:
        raise LambdaSearchError(
            f"The job {job} was killed by signal {-ended.code}, as for want of memory.",
            f"Its log: {jobs.look(job)}\nGo on with the same command.",
        )
    if ended.code:
        raise typer.Exit(ended.code)


def check_alone(
    submit: str, ray_address: str | None, dry_run: bool = False, detach: bool = False
) -> None:
    """Raises UsageError where --submit stands beside what says otherwise."""
    if ray_address is not None:
        raise UsageError(
            f"A job runs on the cluster of {submit}; --ray-address names one as well.",
            "Leave one of them out (LAMBDA_SEARCH_RAY_ADDRESS, LAMBDA_SEARCH_SUBMIT).",
        )
    if dry_run or detach:
        raise UsageError(
            f"--submit does not go with --{'dry-run' if dry_run else 'detach'}.",
            "Leave one of them out; Ctrl-C leaves a job that was submitted running.",
        )


def options(**values: object) -> list[str]:
    """Options as words: True is a flag, of lists each value is given; None and False are not."""
    words: list[str] = []
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, list | tuple):
            words += [word for one in value for word in (option, str(one))]
        elif value is not None and value is not False:
            words += [option, str(value)]
    return words


def _switches(luggage: bool) -> list[tuple[str, bool]]:
    """The options that stand before a command, by their variables; and that files came along."""
    return [
        ("LAMBDA_SEARCH_OFFLINE", offline()),
        ("LAMBDA_SEARCH_DEBUG", debugging()),
        (LUGGAGE, luggage),
    ]


def _store_words(store: str | None, head: str) -> list[str]:
    """The option that names the job's store; none where this command line has none.

    Raises:
        UsageError: if the head could not use it, or its address holds a password.
    """
    named = store or os.environ.get("LAMBDA_SEARCH_STORE")
    if not named:
        return []
    url = store_url(named)
    _check_open(
        "The store's address",
        url,
        "Leave it out here: put it into ~/.pgpass on the head, or set LAMBDA_SEARCH_STORE "
        "where the head is started, and name no store.",
    )
    if Address.of(url).file is not None and _host(head) not in _LOOPBACK:
        raise UsageError(
            f"The store {url} is a file of this machine, which {_host(head)} does not have.",
            "Name a database that both reach, postgresql://USER@HOST/NAME, or no store: then the "
            "rows go to the head's own.",
        )
    return ["--store", url]


def _check_places(words: Sequence[str]) -> None:
    """Raises UsageError for places among a command's options that a job would not find."""
    for option, place in pairwise(words):
        if option not in _PLACES:
            continue
        _check_open(f"What {option} names", place, "Put its keys into the nodes' environment.")
        if not is_address(place) and not Path(place).is_absolute():
            raise UsageError(
                f"{option} {place} is a path from this working folder on, which a job does not "
                "have.",
                "Write it from / on, as the nodes of the cluster see it.",
            )


def _check_open(what: str, address: str, hint: str) -> None:
    """Raises UsageError if an address holds what nobody else should see."""
    if without_secrets(address) != address:
        raise UsageError(
            f"{what} holds a password, and Ray shows a job's command to all who see its "
            "dashboard.",
            hint,
        )


def _host(head: str) -> str:
    return urlsplit(head if "://" in head else f"//{head}").hostname or head
