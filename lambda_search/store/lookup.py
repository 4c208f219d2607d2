"""The lookup: the best schedule of a model, and never a silent guess."""

from __future__ import annotations

from dataclasses import asdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from typing import TypeAlias

from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.paths import store_url
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.store.engine import missing_file
from lambda_search.store.store import Store
from lambda_search.store.tables import ScheduleRow

__all__ = [
    "BestSchedule",
    "as_best",
    "best",
    "describe",
    "matches",
    "network_evaluations",
    "preferred",
]

_RANK = {"confirmed": 0, "published": 1, "measured": 2}
_METRIC_FIELDS = ("metric", "extractor", "reference")

Interval: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class BestSchedule:
    """A row of the lookup table. A published row has no intervals, and no corrected gain.

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
        provenance: study, trial, seeds, indices, versions; of a published row its `source`.
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
    fid_interval: Interval | None
    baseline_fid: float
    baseline_interval: Interval | None
    gain: float | None
    gain_interval: Interval | None
    gain_level: float | None
    provenance: dict[str, Any]
    created: datetime
    row: int

    @property
    def nfe(self) -> int:
        """Network evaluations for one image."""
        return network_evaluations(self.setting.sampler, len(self.lambdas))

    @property
    def candidate(self) -> dict[str, Any]:
        """The candidate whose gain a measured row shows, significant or not."""
        candidates: list[dict[str, Any]] = self.provenance["candidates"]
        return next(one for one in candidates if one["gain"] == self.gain)

    @property
    def beside(self) -> dict[str, tuple[float, float]]:
        """What is told beside the FID of the best candidate: (at λ, at λ = 1) by name.

        FID∞, KID × 1000, and the distances that the study's `metric.also` names.
        """
        at_one = self.provenance.get("baseline")
        if at_one is None:  # published, or of an older version
            return {}
        told = {"FID∞": (self.candidate["fid_at_infinity"], at_one["fid_at_infinity"])}
        if at_one["kid"] is not None:
            told["KID × 1000"] = (1000 * self.candidate["kid"], 1000 * at_one["kid"])
        for other in self.provenance["also"]:
            trial = self.candidate["trial"]
            found = next(one for one in other["candidates"] if one["trial"] == trial)
            extractor, reference = (other[k].split("@")[0] for k in ("extractor", "reference"))
            name = f"FD with {extractor}"
            if name in told:
                name += f" against {reference}"
            told[name] = (found["fid"], other["baseline"]["fid"])
        return told

    @property
    def relative_gain(self) -> float:
        """The gain as a share of the FID at λ = 1: bias-corrected, or of a published row plain."""
        if self.gain is None:
            return 1 - self.fid / self.baseline_fid
        return float(self.gain / (self.candidate["corrected"] + self.gain))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = asdict(self) | {"b": self.schedule.b, "k": self.schedule.k}
        del plain["schedule"]
        return plain | {
            "lambdas": list(self.lambdas),
            "setting": self.setting.model_dump(mode="json"),
            "nfe": self.nfe,
            "created": self.created.isoformat(),
        }


def best(
    model: str,
    steps: int | None = None,
    sampler: str | None = None,
    store: Store | str | None = None,
    *,
    nfe: int | None = None,
    **setting: Any,
) -> BestSchedule:
    """The best known schedule of `model` at `steps` solver steps, or `nfe` network evaluations.

    Of each setting the row with the most images stands, then the newest; published ones all
    stand. Rows of every setting that agrees with what is asked compete: confirmed before
    published before measured, then the lower FID.

    Arguments:
        model: the model's name in the store.
        steps: solver steps T′.
        sampler: `ancestral`, `ddim` …; all unless given.
        store: a `Store` or its URL; the default store unless given. Where there is none yet, the
            catalogue of published schedules answers.
        nfe: network evaluations for one image, instead of `steps`: T′, but 2T′ − 1 with `heun`.
        setting: further fields of `Setting` or `SamplerOptions` that must agree, such as
            `site="full"`.

    Raises:
        NoScheduleFound: if no row agrees; the message lists the closest rows.
        UsageError: for a field that does not exist, or if rows of several metrics agree.
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
) -> list[BestSchedule]:
    """All rows that compete in `best`, in their order; at least one. Arguments as there."""
    known = (set(Setting.model_fields) | set(SamplerOptions.model_fields)) - {"options"}
    unknown = set(setting) - known
    if unknown:
        raise UsageError(
            f"A setting has no field '{min(unknown)}'.", "See Setting and SamplerOptions."
        )
    if (steps is None) == (nfe is None):
        raise UsageError(
            f"{'Neither' if steps is None else 'Both'} of steps and nfe are given.",
            "Ask by solver steps, or by network evaluations.",
        )
    asked = {"steps": steps, "nfe": nfe, "sampler": sampler}
    wanted = setting | {name: value for name, value in asked.items() if value is not None}
    if isinstance(store, Store):
        return _matches(store, model, wanted)
    missing = missing_file(store_url(store))
    opened = Store(store if missing is None else "sqlite://")
    try:
        return _matches(opened, model, wanted)
    except NoScheduleFound as error:
        if missing is None:
            raise
        cause = f"There is no store at {missing} yet. {error.cause}"
        raise NoScheduleFound(cause, error.hint) from None
    finally:
        opened.close()


def preferred(found: list[BestSchedule]) -> BestSchedule:
    """The first of `matches`.

    Raises:
        UsageError: if its FID would have to be compared with that of another metric. Published
            rows never are: they come after what is confirmed and before what is measured.
    """
    first = found[0]
    rivals = [one for one in found if (one.status == "published") == (first.status == "published")]
    metrics = {tuple(getattr(one.setting, name) for name in _METRIC_FIELDS) for one in rivals}
    if len(metrics) > 1:
        listed = "\n".join(f"  {describe(one)}" for one in rivals)
        raise UsageError(
            f"Rows of {len(metrics)} metrics agree, and they cannot be compared:\n{listed}",
            "Name one with extractor= and reference=.",
        )
    return first


def network_evaluations(sampler: str, steps: int) -> int:
    """Network evaluations for one image; Heun takes two a step, but one in the last."""
    return 2 * steps - 1 if sampler == "heun" else steps


def _matches(store: Store, model: str, wanted: dict[str, Any]) -> list[BestSchedule]:
    rows = [row for row in store.lookup_rows(model) if row.status in _RANK]
    matching = [found for row in rows if _agrees(found := as_best(row), wanted)]
    if not matching:
        raise NoScheduleFound(*_explain_miss(store, model, wanted, rows))
    return sorted(_standing(matching), key=lambda found: (_RANK[found.status], found.fid))


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
        fid_interval=_interval(row.fid_low, row.fid_high),
        baseline_fid=row.baseline_fid,
        baseline_interval=_interval(row.baseline_low, row.baseline_high),
        gain=row.gain,
        gain_interval=_interval(row.gain_low, row.gain_high),
        gain_level=row.gain_level,
        provenance=row.provenance,
        created=row.created,
        row=row.id,
    )


def _interval(low: float | None, high: float | None) -> Interval | None:
    return None if low is None or high is None else (low, high)


def describe(found: BestSchedule) -> str:
    """One line about a row."""
    setting = found.setting
    return (
        f"{setting.model}  {setting.steps} steps  {setting.sampler}  λ = {found.schedule}  "
        f"{setting.metric} {found.fid:.3g}  {found.status}  "
        f"({setting.extractor}, {setting.reference})"
    )


def _agrees(found: BestSchedule, wanted: dict[str, Any]) -> bool:
    setting = found.setting.model_dump()
    flat = setting.pop("options") | setting | {"nfe": found.nfe}
    return all(
        flat[name] == value or (name in _METRIC_FIELDS and str(flat[name]).split("@")[0] == value)
        for name, value in wanted.items()
    )


def _standing(matching: list[BestSchedule]) -> list[BestSchedule]:
    """Of each setting, the row with the most images, then the newest; all published ones."""
    standing: dict[str, BestSchedule] = {}
    published = []
    for found in sorted(matching, key=lambda found: (found.n, found.row)):
        if found.status == "published":
            published.append(found)
        else:
            standing[found.setting.key] = found
    return published + list(standing.values())


def _explain_miss(
    store: Store, model: str, wanted: dict[str, Any], rows: list[ScheduleRow]
) -> tuple[str, str]:
    asked = ", ".join(f"{name} {value}" for name, value in wanted.items())
    launch = "Search it with: lambda-search launch STUDY"
    if rows:
        by = "steps" if "steps" in wanted else "nfe"
        near = sorted(
            (as_best(row) for row in rows),
            key=lambda r: abs((r.setting.steps if by == "steps" else r.nfe) - wanted[by]),
        )
        listed = "\n".join(f"  {describe(found)}" for found in near[:5])
        return f"No row for {model} with {asked}. It has:\n{listed}", launch
    known = store.lookup_rows()
    own = sorted({row.setting.model.name for row in known if row.status != "published"})
    published = sorted({row.setting.model.name for row in known if row.status == "published"})
    listed = f"Models with rows: {', '.join(own[:12])}. " if own else ""
    return f"No row for the model '{model}'. {listed}Published: {', '.join(published)}.", launch
