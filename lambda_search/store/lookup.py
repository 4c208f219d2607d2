"""The lookup: the best schedule of a model, and never a silent guess.

Of a study's rows the last stands, and of one schedule that was measured again in one setting the
one on most images. Those that stand compete: confirmed before published before measured, then the
lower FID (bias-corrected where it is known). What was not asked for, and would decide the answer
although it cannot be ranked — the metric, site, guidance, weights — is asked back.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.records import Row
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.shell import command
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store

__all__ = ["best", "describe", "listed", "matches", "preferred", "standing", "under_way"]

_RANK = {"confirmed": 0, "published": 1, "measured": 2}
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
    store: Store | str | None = None,
    *,
    nfe: int | None = None,
    **setting: Any,
) -> Row:
    """The best known schedule of `model` at `steps` solver steps, or `nfe` network evaluations.

    Arguments:
        model: the model's name in the store.
        steps: solver steps T′, as asked for or as the grid really has them.
        sampler: `ancestral`, `ddim` …; all unless given.
        store: a `Store` or its URL; the default store unless given. Where there is none yet, the
            catalogue of published schedules answers.
        nfe: network evaluations for one image, instead of `steps`: T′, but 2T′ − 1 with `heun`.
        setting: further fields of `Setting` or `SamplerOptions` that must agree, such as
            `site="full"`. Weights, extractor and reference may be named by their first digits.

    Raises:
        NoScheduleFound: if no row agrees; the message lists the closest rows.
        UsageError: for a field that does not exist, or if rows agree that cannot be ranked.
    """
    return preferred(matches(model, steps, sampler, store, nfe=nfe, **setting))


def matches(
    model: str,
    steps: int | None = None,
    sampler: str | None = None,
    store: Store | str | None = None,
    *,
    nfe: int | None = None,
    **setting: Any,
) -> list[Row]:
    """All rows that compete in `best`, in their order; at least one. Arguments as there."""
    _check_fields(setting)
    if (steps is None) == (nfe is None):
        raise UsageError(
            f"{'Neither' if steps is None else 'Both'} of steps and nfe are given.",
            "Ask by solver steps, or by network evaluations.",
        )
    asked = {"steps": steps, "nfe": nfe, "sampler": sampler}
    wanted = setting | {name: value for name, value in asked.items() if value is not None}
    return _looked_up(model, wanted, store)


def listed(
    model: str, sampler: str | None = None, store: Store | str | None = None, **setting: Any
) -> list[Row]:
    """All rows of `model` that stand, by step count and then in the order of `best`.

    Arguments and errors as in `matches`.
    """
    _check_fields(setting)
    wanted = setting | ({} if sampler is None else {"sampler": sampler})
    found = _looked_up(model, wanted, store)
    return sorted(found, key=lambda row: row.setting.steps)  # which keeps the order else


def preferred(found: Sequence[Row]) -> Row:
    """The first of `matches`.

    Raises:
        UsageError: if rows of the same kind differ in what cannot be ranked. Published rows are of
            a kind of their own: they come after what is confirmed and before what is measured.
    """
    first = found[0]
    rivals = [one for one in found if (one.status == "published") == (first.status == "published")]
    metrics = {tuple(_shown(one, name) for name in _METRIC_FIELDS) for one in rivals}
    if len(metrics) > 1:
        raise UsageError(
            f"Rows of {len(metrics)} metrics agree, and they cannot be compared:\n"
            f"{_listed(rivals)}",
            "Name one with extractor= and reference=.",
        )
    for name, words in _ASKED_BACK.items():
        values = sorted({_shown(one, name) for one in rivals})
        if len(values) > 1:
            raise UsageError(
                f"Rows of {len(values)} {words} agree ({', '.join(values)}), and λ of one says "
                f"nothing about another:\n{_listed(rivals)}",
                f"Name one with {name}=.",
            )
    return first


def standing(rows: Iterable[Row]) -> list[Row]:
    """Of each study the last row, of a schedule measured again in one setting that on most images.

    Arguments:
        rows: the newest first.
    """
    kept: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if row.status == "published":
            kept[("published", row.id)] = row
        else:
            kept.setdefault(("study", row.provenance.study or row.id, row.setting.key), row)
    again: dict[tuple[str, str, str], Row] = {}
    for row in kept.values():
        key = (row.setting.key, str(row.schedule), row.status)
        if key not in again or row.n > again[key].n:
            again[key] = row
    return list(again.values())


def describe(found: Row) -> str:
    """One line about a row."""
    setting = found.setting
    marks = [
        f"guidance {setting.guidance:g}" if setting.guidance is not None else "",
        setting.site if setting.site != "full" else "",
        f"weights {setting.weights[:8]}",
    ]
    return (
        f"{found.id[:12]}  {setting.model}  {setting.steps} steps  {setting.sampler}  "
        f"λ = {found.schedule}  {setting.metric} {found.fid:.3g}  {found.status}  "
        f"({', '.join(mark for mark in marks if mark)}; {setting.extractor}, {setting.reference})"
    )


def _check_fields(setting: dict[str, Any]) -> None:
    known = (set(Setting.model_fields) | set(SamplerOptions.model_fields)) - {"options"}
    unknown = set(setting) - known
    if unknown:
        raise UsageError(
            f"A setting has no field '{min(unknown)}'.", "See Setting and SamplerOptions."
        )


def _looked_up(model: str, wanted: dict[str, Any], store: Store | str | None) -> list[Row]:
    if isinstance(store, Store):
        return _matches(store, model, wanted)
    opened = Store.look(store)
    try:
        return _matches(opened, model, wanted)
    except NoScheduleFound as error:
        if opened.missing is None:
            raise
        cause = f"There is no store at {opened.missing} yet. {error.cause}"
        raise NoScheduleFound(cause, error.hint) from None
    finally:
        opened.close()


def _matches(store: Store, model: str, wanted: dict[str, Any]) -> list[Row]:
    rows = store.lookup_rows(model)
    matching = standing(row for row in rows if _agrees(row, wanted))
    if not matching:
        raise NoScheduleFound(*_explain_miss(store, model, wanted, rows))
    return sorted(matching, key=lambda row: (_RANK[row.status], _distance(row), -row.n))


def _distance(row: Row) -> float:
    """The FID that ranks: at the recommended λ, bias-corrected where that is known."""
    told = row.provenance
    if row.schedule.is_identity:
        return row.fid if told.baseline is None else told.baseline.corrected
    return row.fid if row.candidate is None else row.candidate.corrected


def _agrees(row: Row, wanted: dict[str, Any]) -> bool:
    told = row.setting.model_dump()
    told |= told.pop("options") | {"nfe": row.nfe}
    return all(_fits(row, name, told[name], value) for name, value in wanted.items())


def _fits(row: Row, name: str, found: Any, value: Any) -> bool:
    match name:
        case "steps":
            return value in (found, len(row.lambdas))
        case "guidance":
            return bool(found == (None if value == 1 else value))
        case "weights" | "definition":
            return str(found).startswith(str(value))
        case "extractor" | "reference":
            label, _, fingerprint = str(found).partition("@")
            asked, mark, digits = str(value).partition("@")
            named = asked in ("", label) if mark else asked in (label, fingerprint)
            return named and fingerprint.startswith(digits)
    return bool(found == value)


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


def _listed(rows: Sequence[Row]) -> str:
    return "\n".join(f"  {describe(one)}" for one in rows)


def _explain_miss(
    store: Store, model: str, wanted: dict[str, Any], rows: list[Row]
) -> tuple[str, str]:
    asked = ", ".join(f"{name} {value}" for name, value in wanted.items())
    going = under_way(store, model)
    hint = (
        f"See them with: {command('status')}"
        if going
        else f"Search it with: {command('launch', 'STUDY')}"
    )
    if rows:
        near = sorted(standing(rows), key=lambda row: _apart(row, wanted))
        miss = f"No row for {model} with {asked}. It has:\n{_listed(near[:5])}"
        return f"{miss}{_sentence(going)}", hint
    known = store.lookup_rows()
    own = sorted({row.setting.model for row in known if row.status != "published"})
    published = sorted({row.setting.model for row in known if row.status == "published"})
    names = {name.lower(): name for name in [*own, *published]}
    close = get_close_matches(model.lower(), names, n=3)
    meant = f" Did you mean {' or '.join(names[one] for one in close)}?" if close else ""
    told = f"Models with rows: {', '.join(own[:12])}. " if own else ""
    return (
        f"No row for the model '{model}'.{meant}{_sentence(going)} {told}"
        f"Published: {', '.join(published)}.",
        hint,
    )


def _apart(row: Row, wanted: dict[str, Any]) -> int:
    if "nfe" in wanted:
        return abs(row.nfe - int(wanted["nfe"]))
    return abs(row.setting.steps - int(wanted.get("steps", row.setting.steps)))


def under_way(store: Store, model: str) -> list[str]:
    """The studies of a model that wait or run, a phrase each."""
    found = []
    for study in store.studies():
        if study.state in ("queued", "running"):
            with suppress(UsageError):  # a file that can be read no more
                [spec] = parse_specs(study.spec)
                if model in (spec.model.name or spec.name, spec.name):
                    steps = f"{spec.sampler.name}, {spec.sampler.steps} steps"
                    found.append(f"{study.name} ({steps}) is {study.state}")
    return found


def _sentence(going: Sequence[str]) -> str:
    return f" Under way: {'; '.join(going)}." if going else ""
