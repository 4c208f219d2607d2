"""Rows of the lookup table.

A row names itself by its content, so that its id is valid in every store; it is never changed
after birth. A retraction is a record of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from datetime import datetime
from typing import Any
from typing import Literal
from typing import NamedTuple
from typing import TypeAlias

from lambda_search.records.evidence import Interval
from lambda_search.records.provenance import Candidate
from lambda_search.records.provenance import Origin
from lambda_search.records.provenance import Provenance
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Setting
from lambda_search.setting import fingerprint

__all__ = ["NoiseLevel", "Retraction", "Row", "RowStatus", "network_evaluations"]

RowStatus: TypeAlias = Literal["confirmed", "published", "measured"]


class NoiseLevel(NamedTuple):
    """Where a step calls the network.

    Arguments:
        timestep: what the network is told there: a timestep, or σ itself.
        sigma: σ/α > 0 of the state x = α·x0 + σ·ε; None where α is 0.
    """

    timestep: float
    sigma: float | None


@dataclass(frozen=True)
class Retraction:
    """A row taken back: it no longer answers, and stays in the record.

    Arguments:
        reason: why.
        at: UTC.
    """

    reason: str
    at: datetime


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
        created: when the row came into this store, UTC; no part of its content.
        levels: the noise at each step, least noisy first; empty where it is not known.
        retraction: set if it was taken back.
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
    retraction: Retraction | None = field(default=None)

    @property
    def id(self) -> str:
        """64 hexadecimal digits, made from the content; the first 12 are usually enough."""
        told = asdict(replace(self, provenance=Provenance(), retraction=None))
        for name in ("created", "retraction", "setting", "provenance"):
            del told[name]
        if not self.levels:  # rows of before they were kept
            del told["levels"]
        return fingerprint(
            told | {"setting": self.setting.key, "provenance": self.provenance.to_json()}
        )

    @property
    def nfe(self) -> int:
        """Network evaluations for one image."""
        return network_evaluations(self.setting.sampler, len(self.lambdas))

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
    def relative_gain(self) -> float:
        """The gain as a share of the FID at λ = 1: bias-corrected, or of a published row plain."""
        if self.gain is None or self.candidate is None:
            return 1 - self.fid / self.baseline_fid
        return self.gain / (self.candidate.corrected + self.gain)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "id": self.id,
            "b": self.schedule.b,
            "k": self.schedule.k,
            "lambdas": list(self.lambdas),
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
            "created": self.created.isoformat(),
            "retraction": None
            if self.retraction is None
            else {"reason": self.retraction.reason, "at": self.retraction.at.isoformat()},
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Row:
        """The row that `to_json` wrote, in any store; its id is the same.

        Raises:
            ValueError: for what is no row.
        """
        taken_back = told.get("retraction")
        level = told.get("gain_level") or 0.95
        return cls(
            schedule=LambdaSchedule(told["b"], told["k"]),
            lambdas=tuple(told["lambdas"]),
            setting=Setting.model_validate(told["setting"]),
            status=told["status"],
            verdict=told["verdict"],
            n=told["n"],
            fid=told["fid"],
            fid_interval=_interval(told["fid_interval"]),
            baseline_fid=told["baseline_fid"],
            baseline_interval=_interval(told["baseline_interval"]),
            gain=told["gain"],
            gain_interval=_interval(told["gain_interval"], level),
            provenance=Provenance.from_json(told["provenance"], told["gain"]),
            origin=Origin(**told["origin"]),
            created=datetime.fromisoformat(told["created"]),
            retraction=None
            if taken_back is None
            else Retraction(taken_back["reason"], datetime.fromisoformat(taken_back["at"])),
        )


def network_evaluations(sampler: str, steps: int) -> int:
    """Network evaluations for one image; Heun takes two a step, but one in the last."""
    return 2 * steps - 1 if sampler == "heun" else steps


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _interval(ends: list[float] | None, level: float = 0.95) -> Interval | None:
    return None if ends is None else Interval(ends[0], ends[1], level)
