"""Rows of the lookup table.

A row names itself by its content, so that its id is valid in every store; it is never changed
after birth. A retraction is a record of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from datetime import UTC
from datetime import datetime
from typing import Any

from lambda_search.records.evidence import Interval
from lambda_search.records.possible import check_possible
from lambda_search.records.provenance import Candidate
from lambda_search.records.provenance import Origin
from lambda_search.records.provenance import Provenance
from lambda_search.records.row_json import RowJson
from lambda_search.records.row_parts import Arrival
from lambda_search.records.row_parts import NoiseLevel
from lambda_search.records.row_parts import Origins
from lambda_search.records.row_parts import Retraction
from lambda_search.records.row_parts import RowStatus
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Setting
from lambda_search.setting import fingerprint

__all__ = ["Row", "network_evaluations"]

_SECOND_ORDER = (
    "heun",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
)


@dataclass(frozen=True)
class Row:
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
        gain, gain_interval: bias-corrected FID(1) − FID(λ) of the row's candidate, and its paired
            interval at a level that holds for all candidates together. The row recommends the
            candidate only if the interval lies above zero; else λ = 1.
        provenance: where every number comes from.
        origin: who measured or published it, with what.
        levels: the noise at each step, least noisy first; empty where it is not known.
        created: when it was measured, or entered into the catalogue, UTC; no part of its content.
        retraction: set if it was taken back; no part of its content, and nor is what follows.
        origins: where the model came from.
        arrival: set if it came into this store from a file.
    """

    schedule: LambdaSchedule
    lambdas: tuple[float, ...]
    setting: Setting
    status: RowStatus
    verdict: str
    n: int
    fid: float
    fid_interval: Interval | None
    baseline_fid: float
    baseline_interval: Interval | None
    gain: float | None
    gain_interval: Interval | None
    provenance: Provenance
    origin: Origin
    created: datetime
    levels: tuple[NoiseLevel, ...] = ()
    retraction: Retraction | None = None
    origins: Origins = field(default=Origins(), compare=False)
    arrival: Arrival | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        """64 hexadecimal digits, made from the content; the first 12 are usually enough."""
        content = {
            "schedule": asdict(self.schedule),
            "lambdas": self.lambdas,
            "setting": self.setting.key,
            "status": self.status,
            "verdict": self.verdict,
            "n": self.n,
            "fid": self.fid,
            "fid_interval": self.fid_interval and asdict(self.fid_interval),
            "baseline_fid": self.baseline_fid,
            "baseline_interval": self.baseline_interval and asdict(self.baseline_interval),
            "gain": self.gain,
            "gain_interval": self.gain_interval and asdict(self.gain_interval),
            "provenance": self.provenance.to_json(),
            "origin": asdict(self.origin),
        }
        return fingerprint(content | ({"levels": self.levels} if self.levels else {}))

    @property
    def nfe(self) -> int:
        """Network evaluations for one image."""
        return network_evaluations(self.setting.solver, len(self.lambdas))

    @property
    def candidate(self) -> Candidate | None:
        """The candidate whose gain a measured row shows, significant or not."""
        return self.provenance.candidate

    @property
    def beside(self) -> dict[str, tuple[float, float]]:
        """What was measured beside the FID of the candidate: (at λ, at λ = 1) by name.

        FID∞, KID × 1000, and the distances that the study's `metric.also` names.
        """
        at_one, chosen = self.provenance.baseline, self.candidate
        if at_one is None or chosen is None:  # published, or of an older version
            return {}
        found: dict[str, tuple[float, float]] = {}
        if chosen.fid_at_infinity is not None and at_one.fid_at_infinity is not None:
            found["FID∞"] = (chosen.fid_at_infinity, at_one.fid_at_infinity)
        if chosen.kid is not None and at_one.kid is not None:
            found["KID × 1000"] = (1000 * chosen.kid, 1000 * at_one.kid)
        for other in self.provenance.also:
            extractor, reference = (
                text.split("@")[0] for text in (other.extractor, other.reference)
            )
            name = f"FD with {extractor}"
            if name in found:
                name += f" against {reference}"
            there = next(one for one in other.candidates if one.trial == chosen.trial)
            found[name] = (there.fid, other.baseline.fid)
        return found

    @property
    def worth_words(self) -> str:
        """Whether k is worth it, in a sentence; "" where the study did not ask."""
        told = self.provenance
        if told.worth is None or told.baseline is None:
            return ""
        for one in told.candidates:
            if one.trial == told.worth.constant:
                return told.worth.words(one.b, one.corrected)
        return told.worth.words(1.0, told.baseline.corrected)

    @property
    def relative_gain(self) -> float:
        """The gain as a share of the FID at λ = 1: bias-corrected, or of a published row plain."""
        if self.gain is None or self.candidate is None:
            return 1 - self.fid / self.baseline_fid
        return self.gain / (self.candidate.corrected + self.gain)

    @property
    def score(self) -> float:
        """The FID that ranks: at the recommended λ, bias-corrected where that is known."""
        if self.schedule.is_identity:
            at_one = self.provenance.baseline
            return self.fid if at_one is None else at_one.corrected
        return self.fid if self.candidate is None else self.candidate.corrected

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: all of it but `arrival`, with its λ step by step."""
        levels = self.levels or [NoiseLevel(None, None)] * len(self.lambdas)  # type: ignore[arg-type]
        return {
            "id": self.id,
            "b": self.schedule.b,
            "k": self.schedule.k,
            "lambdas": list(self.lambdas),
            "table": [
                {"timestep": level.timestep, "sigma": level.sigma, "lambda": value}
                for level, value in zip(levels, self.lambdas, strict=True)
            ],
            "setting": self.setting.model_dump(mode="json"),
            "status": self.status,
            "verdict": self.verdict,
            "n": self.n,
            "fid": self.fid,
            "fid_interval": _ends(self.fid_interval),
            "baseline_fid": self.baseline_fid,
            "baseline_interval": _ends(self.baseline_interval),
            "gain": self.gain,
            "gain_interval": _ends(self.gain_interval),
            "gain_level": None if self.gain_interval is None else self.gain_interval.level,
            "nfe": self.nfe,
            "provenance": self.provenance.to_json(),
            "origin": asdict(self.origin),
            "model": asdict(self.origins),
            "created": self.created.isoformat(),
            "retraction": None
            if self.retraction is None
            else {"reason": self.retraction.reason, "at": self.retraction.at.isoformat()},
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any] | str) -> Row:
        """The row that `to_json` wrote, in any store; its id is the same.

        Arguments:
            told: plain JSON values, or JSON itself.

        Raises:
            ValueError: for what is no row, is an impossible one, or has not the id of its content.
        """
        text = told if isinstance(told, str) else json.dumps(told)
        if "\\u0000" in text:
            raise ValueError("a text in it has a null character")
        read = RowJson.model_validate_json(text, strict=True)
        taken_back = read.retraction
        levels = tuple(NoiseLevel(one.timestep, one.sigma) for one in read.table)  # type: ignore[arg-type]
        row = cls(
            schedule=LambdaSchedule(read.b, read.k),
            lambdas=read.lambdas,
            setting=read.setting,
            status=read.status,
            verdict=read.verdict,
            n=read.n,
            fid=read.fid,
            fid_interval=_interval(read.fid_interval),
            baseline_fid=read.baseline_fid,
            baseline_interval=_interval(read.baseline_interval),
            gain=read.gain,
            gain_interval=_interval(read.gain_interval, read.gain_level or 0.95),
            provenance=read.provenance,
            origin=read.origin,
            created=read.created.astimezone(UTC),
            levels=levels if any(one.timestep is not None for one in levels) else (),
            retraction=None
            if taken_back is None
            else Retraction(taken_back.reason, taken_back.at.astimezone(UTC)),
            origins=read.model,
        )
        check_possible(row)
        if [one.lambda_ for one in read.table] != [*row.lambdas]:
            raise ValueError("its table has other λ than its list of them")
        if (row.id, row.nfe) != (read.id, read.nfe):
            raise ValueError(f"its id is {read.id[:12]}, and its content makes {row.id[:12]}")
        return row


def network_evaluations(solver: str, steps: int) -> int:
    """Network evaluations for one image; methods of second order take two a step, but the last."""
    return 2 * steps - 1 if solver in _SECOND_ORDER else steps


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _interval(ends: tuple[float, float] | None, level: float = 0.95) -> Interval | None:
    return None if ends is None else Interval(*ends, level)
