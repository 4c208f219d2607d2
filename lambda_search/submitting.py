"""Studies come into the queue: as their files have them, through a service, or to one.

It stands on the store, the study files and the records alone, as `studies` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from lambda_search.earlier import changed
from lambda_search.errors import UsageError
from lambda_search.errors import printable
from lambda_search.events import Events
from lambda_search.records import Study
from lambda_search.remote import Service
from lambda_search.spec import SERVICE
from lambda_search.spec import Bounds
from lambda_search.spec import QueueSpec
from lambda_search.spec import StudySpec
from lambda_search.spec import Written
from lambda_search.spec import attachments
from lambda_search.spec import check_names
from lambda_search.spec import named_files
from lambda_search.spec import parse_specs
from lambda_search.spec import read_specs
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store

__all__ = ["Named", "post", "submit_from_afar", "submit_written", "written"]

Named: TypeAlias = StudySpec | str | Path | Sequence[StudySpec]
"""A study, several, or the path of a study file or a folder of them."""


def submit_from_afar(studies: Iterable[Written], service: Service) -> list[Study]:
    """Queues studies that were read at a service; errors as in `submit`."""
    several = [(one.spec.to_yaml(), attachments(one.spec, one.base)) for one in studies]
    return [study for text, files in several for study in service.submit(text, files)]


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

    Nothing of this host is read for them, but that files which they name lie in the roots. They
    have no priority above 0 and count as one user's: who posts has one token with all others, and
    could be anybody.

    Arguments:
        text: the study file (YAML).
        files: the config and prompt files that it names, by the names that it has for them.
        store: where they are queued.
        bounds: what they may name.

    Raises:
        UsageError: as `submit`, and for what they may not name or ask for.
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
        turn = spec.queue or QueueSpec()
        queued.append(
            queue.submit(
                spec.name,
                spec.to_yaml(),
                base,
                carried,
                door,
                priority=turn.priority,
                user=f"door:{door}" if door else turn.user or "",  # no user has such a name
            )
        )
        events = Events(spec.name, [store.say])
        if spec.name in differing and queued[-1].spec == spec.to_yaml():
            told = "; ".join(str(field) for field in differing[spec.name].fields)
            events.say("warning", f"its file was changed: {told}")
        if queued[-1].state == "queued":
            events.say("queued", "waits for a driver")
    return queued
