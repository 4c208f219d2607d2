"""What `diagnose` says of a model: how its inputs drift, and the λ that it predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lambda_search.schedule import LambdaSchedule

__all__ = ["Diagnosis", "NormsAt", "Tried", "norms_off"]


@dataclass(frozen=True)
class NormsAt:
    """Norms of the predicted ε at one step, means over images.

    Arguments:
        index: i, 0 = least noisy.
        noise: σ/α there; None at pure noise.
        sampling: ‖ε‖ at the states that the sampler comes to.
        true: ‖ε‖ at clean images with true noise.
    """

    index: int
    noise: float | None
    sampling: float
    true: float

    @property
    def ratio(self) -> float:
        """r_i: above 1 the network sees more noise than there should be."""
        return self.sampling / self.true


def norms_off(curve: Sequence[NormsAt]) -> float:
    """The rms of log r_i over i ≥ 1, 0 if there is no such step.

    At the last step, i = 0, no schedule comes near r = 1.
    """
    logs = [math.log(one.ratio) for one in curve if one.index > 0]
    return math.sqrt(sum(log**2 for log in logs) / len(logs)) if logs else 0.0


@dataclass(frozen=True)
class Tried:
    """A schedule on whose images a prediction stands.

    Arguments:
        schedule: λ(i).
        mean, slope: of it.
        n: how many images.
        gain: share of the distance at λ = 1 in the network's own features by which it lowers that
            on the same noise, bias-corrected.
        error: its paired standard error.
        off: rms of log r_i (`norms_off`).
    """

    schedule: LambdaSchedule
    mean: float
    slope: float
    n: int
    gain: float
    error: float
    off: float


@dataclass(frozen=True)
class Diagnosis:
    """What a few images say of a model in a setting. A prediction: nothing in it is proven.

    Arguments:
        framework, weights: of the model; the SHA-256 of its weights.
        sampler: which.
        steps: T′, the real number of them.
        schedule: the λ(i) to begin with; λ = 1 where norms ask for nothing else, or what they name
            takes samples away from clean images in the network's own features.
        mean, slope: of it.
        gain: share of the distance at λ = 1, in the network's own features, by which it lowers
            that; below 0 where it raises it.
        error: its paired standard error.
        matched: the λ(i) that norms of ε name, recommended or not.
        curve: norms at λ = 1, least noisy step first.
        tried: the schedules that were tried, λ = 1 first.
        images: sampled in all, those of the model's own that stand for real ones among them.
        seed: of their noise.
        features: what the distance is of, in words.
        reference: what samples are measured against, in words.
        truth: of what the true norms are, in words.
    """

    framework: str
    weights: str
    sampler: str
    steps: int
    schedule: LambdaSchedule
    mean: float
    slope: float
    gain: float
    error: float
    matched: LambdaSchedule
    curve: tuple[NormsAt, ...]
    tried: tuple[Tried, ...]
    images: int
    seed: int
    features: str
    reference: str
    truth: str

    @property
    def words(self) -> str:
        """What it predicts, in a sentence."""
        if self.matched.is_identity:
            return "λ = 1: norms of ε ask for nothing else"
        if self.schedule.is_identity:
            return (
                "λ = 1: what norms of ε name, "
                f"λ(i) = {self.matched}, makes images that are farther from clean ones"
            )
        moves = "falls" if self.gain >= 0 else "rises"
        return (
            f"λ(i) = {self.schedule}, by norms of ε; in the network's own features the distance "
            f"to clean images {moves} by {abs(self.gain):.1%} ± {1.96 * self.error:.1%}"
        )
