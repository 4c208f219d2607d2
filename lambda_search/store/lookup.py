"""The lookup: the best schedule of a model, and never a silent guess.

Of a study's rows the last stands, and of one schedule that was measured again in one setting the
one on most images (`standing`). Those that stand compete: confirmed before published before
measured, then the lower FID (bias-corrected where it is known). What was not asked for, and would
decide the answer although it cannot be ranked — the metric, site, guidance, weights — is asked
back. Indexes find the answer (`contests`); a lookup starts no work.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import TypeAlias

from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.records import Match
from lambda_search.records import Row
from lambda_search.remote import Service
from lambda_search.remote import service_at
from lambda_search.store.asked import asked_for
from lambda_search.store.misses import listing
from lambda_search.store.misses import no_row
from lambda_search.store.nearest import between
from lambda_search.store.nearest import near_of
from lambda_search.store.nearest import nearest_rows
from lambda_search.store.opened import looking
from lambda_search.store.store import Store

__all__ = [
    "best",
    "constant_beside",
    "how_many",
    "listed",
    "matches",
    "nearest",
    "page",
    "preferred",
    "row",
]

Where: TypeAlias = Store | Service | str | None
_METRIC_FIELDS = ("metric", "extractor", "reference")
_ASKED_BACK = {
    "site": "places where λ acts",
    "guidance": "guidance scales",
    "weights": "weights",
    "definition": "model configurations",
}
"""Fields that change what λ means or what an FID is worth, in words."""


def best(
    model: str,
    steps: int | None = None,
    sampler: str | None = None,
    store: Where = None,
    *,
    nfe: int | None = None,
    **setting: Any,
) -> Row:
    """The best known schedule of `model` at `steps` solver steps, or `nfe` network evaluations.

    Arguments:
        model: the model's name in the store.
        steps: solver steps T′, as asked for or as the grid really has them.
        sampler: `ancestral`, `ddim` …; all unless given.
        store: a `Store` or its URL, or the address of a service (http://…); the default store
            unless given. Where there is none yet, the catalogue of published schedules answers.
        nfe: network evaluations for one image, instead of `steps`: T′, but 2T′ − 1 with `heun`.
        setting: further fields of `Setting` or `SamplerOptions` that must agree, such as
            `site="full"`. Weights, extractor and reference may be named by their first digits.

    Raises:
        NoScheduleFound: if no row agrees; the message lists the closest rows.
        UsageError: for a field that does not exist, or if rows agree that cannot be ranked.
    """
    wanted = _counted(steps, nfe, sampler, setting)
    if (service := service_at(store)) is not None:
        return service.best(model, wanted)
    with looking(store) as opened:
        return opened.together(lambda one: preferred(_found(one, model, wanted, one.firsts)))


def nearest(
    model: str,
    steps: int | None = None,
    sampler: str | None = None,
    store: Where = None,
    *,
    nfe: int | None = None,
    **setting: Any,
) -> Match:
    """What `best` gives, and where no row is exact what is nearest, labelled (`store/nearest`).

    Between two step counts of an Euler-like sampler λ is interpolated; else it is the row that is
    nearest in steps, sampler and guidance, as it was measured. Arguments as in `best`.

    Raises:
        NoScheduleFound: if there is no row that agrees in all else.
        UsageError: as `best`.
    """
    wanted = _counted(steps, nfe, sampler, setting)
    if (service := service_at(store)) is not None:
        return service.nearest(model, wanted)
    with looking(store) as opened:
        return opened.together(lambda one: _nearest(one, model, wanted))


def matches(
    model: str,
    steps: int | None = None,
    sampler: str | None = None,
    store: Where = None,
    *,
    nfe: int | None = None,
    **setting: Any,
) -> list[Row]:
    """All rows that compete in `best`, in their order; at least one. Arguments as there."""
    return _competing(model, _counted(steps, nfe, sampler, setting), store)


def how_many(
    model: str,
    steps: int | None = None,
    sampler: str | None = None,
    store: Where = None,
    *,
    nfe: int | None = None,
    **setting: Any,
) -> int:
    """How many rows `matches` gives, without reading them. Arguments as in `best`."""
    wanted = _counted(steps, nfe, sampler, setting)
    if (service := service_at(store)) is not None:
        return service.how_many(model, wanted)
    with looking(store) as opened:
        return opened.how_many(model, wanted)


def listed(
    model: str, sampler: str | None = None, store: Where = None, **setting: Any
) -> list[Row]:
    """All rows of `model` that stand, by step count and then in the order of `best`.

    Arguments and errors as in `matches`.
    """
    found = _competing(model, asked_for(None, None, sampler, setting), store)
    return sorted(found, key=lambda row: row.setting.steps)  # which keeps the order else


def page(store: Store, model: str, most: int, skip: int, **asked: Any) -> tuple[list[Row], int]:
    """Some of what `matches` gives, or `listed` without steps and nfe; and how many there are.

    Arguments:
        store: a store.
        model: the model's name in it.
        most, skip: how many rows, and how many come before.
        asked: as in `best`.
    """
    counts = {name: asked.pop(name, None) for name in ("steps", "nfe")}
    sampler, listing_all = asked.pop("sampler", None), set(counts.values()) == {None}
    if listing_all:
        wanted = asked_for(None, None, sampler, asked)
    else:
        wanted = _counted(counts["steps"], counts["nfe"], sampler, asked)

    def ask(one: Store) -> tuple[list[Row], int]:
        found = one.competing_page(model, wanted, most, skip, listing_all)
        if not found[1]:
            raise no_row(one, model, wanted)
        return found

    return store.together(ask)


def constant_beside(row: Row, store: Where = None) -> Row | None:
    """Of a row with k ≠ 0 the best row with one λ for all steps, not 1, in the same setting.

    It may be its companion, or of another study. None if there is none.
    """
    if row.schedule.k == 0:
        return None
    if service_at(store) is None:
        with looking(store) as opened:
            return opened.constant(row.setting)
    try:
        found = matches(row.setting.model, row.setting.steps, row.setting.sampler, store)
    except NoScheduleFound:  # of a row that was taken back
        return None
    key = row.setting.key
    constants = (one for one in found if one.schedule.k == 0 and not one.schedule.is_identity)
    return next((one for one in constants if one.setting.key == key), None)


def row(id: str, store: Where = None) -> Row:
    """The row whose id begins with `id`, superseded and retracted ones too.

    Raises:
        UsageError: if there is none, or several.
    """
    if (service := service_at(store)) is not None:
        return service.row(id)
    with looking(store) as opened:
        return opened.row(id)


def preferred(found: Sequence[Row]) -> Row:
    """The first of rows that compete, in the order of `best`.

    Raises:
        UsageError: if rows of the same kind differ in what cannot be ranked. Published rows are of
            a kind of their own: they come after what is confirmed and before what is measured.
    """
    first = found[0]
    rivals = [one for one in found if (one.status == "published") == (first.status == "published")]
    lines = [near_of(one) for one in rivals] if len(rivals) > 1 else []
    metrics = {tuple(_shown(one, name) for name in _METRIC_FIELDS) for one in rivals}
    if len(metrics) > 1:
        raise UsageError(
            f"Rows of {len(metrics)} metrics agree, and they cannot be compared:\n"
            f"{listing(lines)}",
            "Name one with extractor= and reference=.",
        )
    for name, words in _ASKED_BACK.items():
        values = sorted({_shown(one, name) for one in rivals})
        if len(values) > 1:
            raise UsageError(
                f"Rows of {len(values)} {words} agree ({', '.join(values[:12])}), and λ of one "
                f"says nothing about another:\n{listing(lines)}",
                f"Name one with {name}=.",
            )
    return first


def _counted(
    steps: int | None, nfe: int | None, sampler: str | None, setting: dict[str, Any]
) -> dict[str, Any]:
    if (steps is None) == (nfe is None):
        raise UsageError(
            f"{'Neither' if steps is None else 'Both'} of steps and nfe are given.",
            "Ask by solver steps, or by network evaluations.",
        )
    return asked_for(steps, nfe, sampler, setting)


def _competing(model: str, wanted: dict[str, Any], store: Where) -> list[Row]:
    if (service := service_at(store)) is not None:
        return service.matches(model, wanted)
    with looking(store) as opened:
        return opened.together(lambda one: _found(one, model, wanted, one.competing))


def _found(
    store: Store,
    model: str,
    wanted: dict[str, Any],
    ask: Callable[[str, dict[str, Any]], list[Row]],
) -> list[Row]:
    found = ask(model, wanted)
    if not found:
        raise no_row(store, model, wanted)
    return found


def _nearest(store: Store, model: str, wanted: dict[str, Any]) -> Match:
    found = store.firsts(model, wanted)
    if found:
        return Match.of(preferred(found))
    interpolated = between(store, model, wanted)
    if interpolated is not None:
        return interpolated
    near = nearest_rows(store, model, wanted)
    if not near:
        raise no_row(store, model, wanted)
    first = preferred([one.rows[0] for one in near])
    return next(one for one in near if one.rows[0] is first)


def _shown(row: Row, name: str) -> str:
    value = getattr(row.setting, name)
    match name:
        case "guidance":
            return "none" if value is None else f"{value:g}"
        case "weights" | "definition":
            return str(value)[:12]
        case "extractor" | "reference":  # where a fingerprint is known, it alone decides
            return str(value).partition("@")[2] or str(value)
    return str(value)
