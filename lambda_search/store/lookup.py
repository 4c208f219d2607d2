"""The lookup: the best schedule of a model, and never a silent guess."""

from __future__ import annotations

from dataclasses import asdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.store.engine import require_existing
from lambda_search.store.paths import store_url
from lambda_search.store.store import Store
from lambda_search.store.tables import ScheduleRow

__all__ = ["BestSchedule", "as_best", "best"]

_RANK = {"confirmed": 0, "published": 1, "measured": 2}
_METRIC_FIELDS = ("metric", "extractor", "reference")


@dataclass(frozen=True)
class BestSchedule:
    """A row of the lookup table.

    Arguments:
        schedule: λ(i) = b + k·i.
        lambdas: λ(0), …, λ(T′ − 1); 0 = least noisy step.
        setting: what it holds for.
        status: `confirmed`, `published` or `measured`.
        verdict: the same in words.
        n: images behind each FID.
        fid, fid_interval: FID at λ, with its 95 % sampling interval.
        baseline_fid, baseline_interval: the same at λ = 1, on the same indices and noise.
        gain, gain_interval, gain_level: bias-corrected FID(1) − FID(λ) of the best candidate, its
            paired interval, and the interval's level. The row recommends the candidate only if
            the interval lies above zero.
        provenance: study, trial, seeds, indices, versions.
        created: when the row was made, UTC.
        row: its id in the store.
    """

    schedule: LambdaSchedule
    lambdas: tuple[float, ...]
    setting: Setting
    status: str
    verdict: str
    n: int
    fid: float
    fid_interval: tuple[float, float]
    baseline_fid: float
    baseline_interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]
    gain_level: float
    provenance: dict[str, Any]
    created: datetime
    row: int

    @property
    def candidate(self) -> dict[str, Any]:
        """The candidate whose gain the row shows, significant or not."""
        candidates: list[dict[str, Any]] = self.provenance["candidates"]
        return next(one for one in candidates if one["gain"] == self.gain)

    @property
    def relative_gain(self) -> float:
        """`gain` as a share of the FID at λ = 1, both bias-corrected."""
        return float(self.gain / (self.candidate["corrected"] + self.gain))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = asdict(self) | {"b": self.schedule.b, "k": self.schedule.k}
        del plain["schedule"]
        return plain | {
            "lambdas": list(self.lambdas),
            "setting": self.setting.model_dump(mode="json"),
            "created": self.created.isoformat(),
        }


def best(
    model: str,
    steps: int,
    sampler: str | None = None,
    store: Store | str | None = None,
    **setting: Any,
) -> BestSchedule:
    """The best known schedule of `model` at `steps` solver steps.

    Of each setting the row with the most images stands, then the newest. Rows of every setting
    that agrees with what is asked compete: confirmed before published before measured, then the
    lower FID.

    Arguments:
        model: the model's name in the store.
        steps: solver steps T′.
        sampler: `ancestral`, `ddim` …; all unless given.
        store: a `Store` or its URL; the default store unless given.
        setting: further fields of `Setting` or `SamplerOptions` that must agree, such as
            `site="full"`.

    Raises:
        NoScheduleFound: if no row agrees; the message lists the closest rows.
        UsageError: for a field that does not exist, or if rows of several metrics agree.
    """
    known = (set(Setting.model_fields) | set(SamplerOptions.model_fields)) - {"options"}
    unknown = set(setting) - known
    if unknown:
        raise UsageError(
            f"A setting has no field '{min(unknown)}'.", "See Setting and SamplerOptions."
        )
    if isinstance(store, Store):
        return _best(store, model, setting | {"steps": steps}, sampler)
    require_existing(store_url(store))
    opened = Store(store)
    try:
        return _best(opened, model, setting | {"steps": steps}, sampler)
    finally:
        opened.close()


def _best(store: Store, model: str, wanted: dict[str, Any], sampler: str | None) -> BestSchedule:
    rows = store.lookup_rows(model)
    wanted = wanted | ({"sampler": sampler} if sampler else {})
    matching = [as_best(row) for row in rows if _agrees(row, wanted)]
    if not matching:
        raise NoScheduleFound(*_explain_miss(store, model, wanted, rows))
    metrics = {
        tuple(getattr(found.setting, name) for name in _METRIC_FIELDS) for found in matching
    }
    if len(metrics) > 1:
        listed = "\n".join(f"  {describe(found)}" for found in matching)
        raise UsageError(
            f"Rows of {len(metrics)} metrics agree, and they cannot be compared:\n{listed}",
            "Name one with extractor= and reference=.",
        )
    return min(_standing(matching), key=lambda found: (_RANK[found.status], found.fid))


def as_best(row: ScheduleRow) -> BestSchedule:
    """A stored row as a public value."""
    return BestSchedule(
        schedule=LambdaSchedule(row.b, row.k),
        lambdas=tuple(row.lambdas),
        setting=Setting.from_key(row.setting.key),
        status=row.status,
        verdict=row.verdict,
        n=row.n,
        fid=row.fid,
        fid_interval=(row.fid_low, row.fid_high),
        baseline_fid=row.baseline_fid,
        baseline_interval=(row.baseline_low, row.baseline_high),
        gain=row.gain,
        gain_interval=(row.gain_low, row.gain_high),
        gain_level=row.gain_level,
        provenance=row.provenance,
        created=row.created,
        row=row.id,
    )


def describe(found: BestSchedule) -> str:
    """One line about a row."""
    setting = found.setting
    return (
        f"{setting.model}  {setting.steps} steps  {setting.sampler}  λ = {found.schedule}  "
        f"{setting.metric} {found.fid:.3g}  {found.status}  "
        f"({setting.extractor}, {setting.reference})"
    )


def _agrees(row: ScheduleRow, wanted: dict[str, Any]) -> bool:
    setting = Setting.from_key(row.setting.key).model_dump()
    flat = setting.pop("options") | setting
    return all(
        flat[name] == value or (name in _METRIC_FIELDS and str(flat[name]).split("@")[0] == value)
        for name, value in wanted.items()
    )


def _standing(matching: list[BestSchedule]) -> list[BestSchedule]:
    """Of each setting, the row with the most images, then the newest; published ones beside it."""
    standing: dict[tuple[str, bool], BestSchedule] = {}
    for found in sorted(matching, key=lambda found: (found.n, found.row)):
        standing[found.setting.key, found.status == "published"] = found
    return list(standing.values())


def _explain_miss(
    store: Store, model: str, wanted: dict[str, Any], rows: list[ScheduleRow]
) -> tuple[str, str]:
    asked = ", ".join(f"{name} {value}" for name, value in wanted.items())
    if rows:
        near = sorted(
            (as_best(row) for row in rows), key=lambda r: abs(r.setting.steps - wanted["steps"])
        )
        listed = "\n".join(f"  {describe(found)}" for found in near[:5])
        return (
            f"No row for {model} with {asked}. It has:\n{listed}",
            "Search it with: lambda-search launch STUDY",
        )
    names = sorted({row.setting.model.name for row in store.lookup_rows()})
    known = (
        f"Models with rows: {', '.join(names[:12])}." if names else "The store has no rows yet."
    )
    return f"No row for the model '{model}'. {known}", "Search it with: lambda-search launch STUDY"
