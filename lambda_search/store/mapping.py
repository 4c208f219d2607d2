"""Between the tables and the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lambda_search.records import Arrival
from lambda_search.records import Attempt
from lambda_search.records import Evaluation
from lambda_search.records import Event
from lambda_search.records import Identity
from lambda_search.records import Interval
from lambda_search.records import Judgement
from lambda_search.records import NoiseLevel
from lambda_search.records import Origin
from lambda_search.records import Origins
from lambda_search.records import Progress
from lambda_search.records import Provenance
from lambda_search.records import Retraction
from lambda_search.records import Round
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.records import Terms
from lambda_search.records import Trial
from lambda_search.records import WarmStart
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Setting
from lambda_search.store.clock import now
from lambda_search.store.contests import GRADES
from lambda_search.store.tables import EvaluationRow
from lambda_search.store.tables import EventRow
from lambda_search.store.tables import RoundRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import SettingRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.tables import TrialRow

__all__ = [
    "BY_ANY",
    "driver_of",
    "evaluation_of",
    "evaluation_row",
    "event_of",
    "round_of",
    "round_values",
    "row_of",
    "schedule_values",
    "setting_of",
    "study_of",
    "trial_of",
    "trial_row",
]


BY_ANY = "by_any"
"""Beside the `confirm` of a proof that is wanted: that any driver may make it."""


def setting_of(row: SettingRow) -> Setting:
    """The setting, with the names under which extractor and reference were first used."""
    names = {"extractor": row.extractor, "reference": row.reference}
    return Setting.from_key(row.key).model_copy(update=names)


def study_of(row: StudyRow) -> Study:
    """A study without its files' contents."""
    owner = row.owner or {}
    return Study(
        id=row.id,
        name=row.name,
        spec=row.spec,
        base=row.base,
        state=row.state,  # type: ignore[arg-type]
        message=row.message,
        setting=None if row.setting is None else setting_of(row.setting),
        steps=row.schedule_steps,
        identity=None if row.identity is None else Identity.from_json(row.identity),
        decisive=row.decisive,
        attempts=tuple(
            Attempt(one.driver, one.began, one.ended, one.outcome, one.reason)
            for one in row.attempts
        ),
        stop_wanted=row.stop_wanted,
        progress=None if row.progress is None else Progress.from_json(row.progress),
        fence=row.fence,
        driver=driver_of(owner) if owner else "",
        created=row.created,
        updated=row.updated,
        door=row.door,
        proof_wanted=_confirm_of(row.proof_wanted),
        warm_start=None if row.warm_start is None else WarmStart(**row.warm_start),
    )


def driver_of(owner: Mapping[str, Any]) -> str:
    """A lease's owner, for people."""
    return f"process {owner['pid']} on {owner['host']}"


def _confirm_of(wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    return wanted and {name: value for name, value in wanted.items() if name != BY_ANY}


def trial_of(row: TrialRow) -> Trial:
    """A trial."""
    return Trial(
        number=row.number,
        generation=row.generation,
        schedule=LambdaSchedule(row.b, row.k),
        mean=row.mean,
        slope=row.slope,
        state=row.state,  # type: ignore[arg-type]
        n=row.n,
        gain=row.gain,
        fid=row.fid,
        reason=row.reason,
        created=row.created,
        finished=row.finished,
    )


def trial_row(study_id: int, trial: Trial) -> TrialRow:
    """A new trial, which may have ended as it begins; the store says when it was made."""
    return TrialRow(
        study_id=study_id,
        number=trial.number,
        generation=trial.generation,
        b=trial.schedule.b,
        k=trial.schedule.k,
        mean=trial.mean,
        slope=trial.slope,
        state=trial.state,
        finished=None if trial.is_open else now(),
    )


def evaluation_of(row: EvaluationRow) -> Evaluation:
    """An evaluation."""
    return Evaluation(
        trial=row.trial,
        phase=row.phase,  # type: ignore[arg-type]
        first=row.first_index,
        n=row.n,
        fid=row.fid,
        corrected=row.corrected,
        standard_error=row.standard_error,
        gain=row.gain,
        raw_gain=row.raw_gain,
        gain_standard_error=row.gain_standard_error,
        correlation=row.correlation,
        fingerprint=row.fingerprint,
        terms=None if row.terms is None else Terms(**row.terms),
        through=row.through,
    )


def evaluation_row(study_id: int, found: Evaluation) -> EvaluationRow:
    """A new evaluation."""
    return EvaluationRow(
        study_id=study_id,
        fingerprint=found.fingerprint,
        trial=found.trial,
        phase=found.phase,
        first_index=found.first,
        n=found.n,
        fid=found.fid,
        corrected=found.corrected,
        standard_error=found.standard_error,
        gain=found.gain,
        raw_gain=found.raw_gain,
        gain_standard_error=found.gain_standard_error,
        correlation=found.correlation,
        terms=None if found.terms is None else asdict(found.terms),
        through=found.through,
    )


def round_of(row: RoundRow) -> Round:
    """A round."""
    known, told = row.covariance, row.judgement
    return Round(
        number=row.number,
        first=row.first_index,
        n=row.n,
        trials=tuple(row.trials),
        covariance=None if known is None else tuple(tuple(one) for one in known),  # type: ignore[arg-type]
        judgement=None if told is None else Judgement(**told),
        components=row.components,
        scores=None if row.scores is None else tuple(row.scores),
    )


def round_values(found: Round) -> dict[str, Any]:
    """What a round says, by column."""
    known, told = found.covariance, found.judgement
    return {
        "number": found.number,
        "first_index": found.first,
        "n": found.n,
        "trials": list(found.trials),
        "covariance": None if known is None else [list(one) for one in known],
        "judgement": None if told is None else asdict(told),
        "components": found.components,
        "scores": None if found.scores is None else list(found.scores),
    }


def row_of(row: ScheduleRow) -> Row:
    """A row of the lookup table, under the names that it was measured with."""
    provenance = Provenance.from_json(row.provenance, row.gain)
    setting, model = setting_of(row.setting), row.setting.model
    if provenance.extractor:
        names = {"extractor": provenance.extractor, "reference": provenance.reference}
        setting = setting.model_copy(update=names)
    taken_back = row.retraction
    return Row(
        schedule=LambdaSchedule(row.b, row.k),
        lambdas=tuple(row.lambdas),
        setting=setting,
        status=row.status,  # type: ignore[arg-type]
        verdict=row.verdict,
        n=row.n,
        fid=row.fid,
        fid_interval=_interval(row.fid_low, row.fid_high),
        baseline_fid=row.baseline_fid,
        baseline_interval=_interval(row.baseline_low, row.baseline_high),
        gain=row.gain,
        gain_interval=_interval(row.gain_low, row.gain_high, row.gain_level),
        provenance=provenance,
        origin=Origin(row.origin_by, row.origin_tool),
        created=row.created,
        levels=tuple(NoiseLevel(*one) for one in row.levels or ()),  # type: ignore[arg-type]
        retraction=None if taken_back is None else Retraction(taken_back.reason, taken_back.at),
        origins=Origins(model.dataset, model.hub, model.revision, model.file),
        arrival=None if row.imported is None else Arrival(row.imported_from or "", row.imported),
    )


def schedule_values(row: Row) -> dict[str, Any]:
    """What a new row says, by column."""
    told = row.provenance
    return {
        "content": row.id,
        "trial": told.trial,
        "b": row.schedule.b,
        "k": row.schedule.k,
        "lambdas": list(row.lambdas),
        "levels": [list(one) for one in row.levels] or None,
        "status": row.status,
        "verdict": row.verdict,
        "grade": GRADES[row.status],
        "score": row.score,
        "fewer": -row.n,
        "n": row.n,
        "fid": row.fid,
        **_ends("fid", row.fid_interval),
        "baseline_fid": row.baseline_fid,
        **_ends("baseline", row.baseline_interval),
        "gain": row.gain,
        **_ends("gain", row.gain_interval),
        "gain_level": None if row.gain_interval is None else row.gain_interval.level,
        "provenance": told.to_json(),
        "origin_by": row.origin.by,
        "origin_tool": row.origin.tool,
        "created": row.created,
        "imported": None if row.arrival is None else row.arrival.at,
        "imported_from": None if row.arrival is None else row.arrival.source,
    }


def event_of(row: EventRow, study: str) -> Event:
    """An event of `study`."""
    return Event(study, row.kind, row.text, row.at, row.id)  # type: ignore[arg-type]


def _ends(name: str, interval: Interval | None) -> dict[str, Any]:
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return {f"{name}_low": low, f"{name}_high": high}


def _interval(
    low: float | None, high: float | None, level: float | None = 0.95
) -> Interval | None:
    return None if low is None or high is None else Interval(low, high, level or 0.95)
