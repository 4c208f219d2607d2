"""What is said where no row agrees: the closest ones, other names, and what is under way."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule
from lambda_search.shell import command
from lambda_search.spec import parse_specs
from lambda_search.store.catalogue import entries
from lambda_search.store.contests import Near
from lambda_search.store.nearest import surroundings
from lambda_search.store.store import Store

__all__ = ["describe", "listing", "no_row", "under_way"]

_SHOWN = 6
_NAMES = 12


def no_row(store: Store, model: str, wanted: Mapping[str, Any]) -> NoScheduleFound:
    """The error that no row of `model` agrees, with the closest."""
    found = surroundings(store, model, wanted, _SHOWN)
    going = _of_model(model, found.waiting)
    under = f" Under way: {'; '.join(going)}." if going else ""
    if found.near:
        asked = ", ".join(f"{name} {value}" for name, value in wanted.items())
        cause = f"No row for {model} with {asked}. It has:\n{listing(found.near)}{under}"
    else:
        cause = f"No row for the model '{model}'.{_other_names(found.models, model, under)}"
    if store.missing is not None:
        cause = f"There is no store at {store.missing} yet. {cause}"
    if going:
        return NoScheduleFound(cause, f"See them with: {command('status')}")
    return NoScheduleFound(cause, f"Search it with: {command('launch', 'STUDY')}")


def under_way(store: Store, model: str) -> list[str]:
    """The studies of a model that wait or run, a phrase each."""
    return _of_model(model, store.waiting())


def _of_model(model: str, waiting: Sequence[tuple[str, str, str]]) -> list[str]:
    found = []
    for name, text, state in waiting:
        if model not in text and text.isascii() and "\\" not in text:
            continue  # a name that is spelled otherwise has an escape, or other characters
        with suppress(UsageError):  # a file that can be read no more
            [spec] = parse_specs(text)
            if model in (spec.model.name or spec.name, spec.name):
                steps = f"{spec.sampler.sampling.solver}, {spec.sampler.steps} steps"
                found.append(f"{name} ({steps}) is {state}")
    return found


def listing(rows: Sequence[Near]) -> str:
    """A few rows, a line each."""
    lines = [f"  {describe(one)}" for one in rows[:_NAMES]]
    left = len(rows) - len(lines)
    return "\n".join([*lines, *([f"  and {left:,} more"] if left > 0 else [])])


def describe(found: Near) -> str:
    """One line about a row."""
    told, schedule = found.fields, LambdaSchedule(found.b, found.k)
    marks = [
        "" if found.guidance is None else f"guidance {float(found.guidance):g}",
        "" if told["site"] == "full" else told["site"],
        f"weights {told['weights'][:8]}",
    ]
    return (
        f"{found.content[:12]}  {told['model']}  {found.steps} steps  {found.sampler}  "
        f"λ = {schedule}  {told['metric']} {found.fid:.3g}  {found.status}  "
        f"({', '.join(mark for mark in marks if mark)}; {told['extractor']}, {told['reference']})"
    )


def _other_names(known: Sequence[str], model: str, under: str) -> str:
    published = sorted({entry.setting.model for entry in entries()})
    own = [name for name in known if name not in published]
    names = {name.lower(): name for name in [*own, *published]}
    close = get_close_matches(model.lower(), names, n=3)
    meant = f" Did you mean {' or '.join(names[one] for one in close)}?" if close else ""
    told = f" Models with rows: {', '.join(own[:_NAMES])}." if own else ""
    return f"{meant}{under}{told} Published: {', '.join(published)}."
