"""What `diagnose` says of a model: how its inputs drift, and the λ that it predicts."""

from __future__ import annotations

from dataclasses import dataclass

from lambda_search.schedule import LambdaSchedule

__all__ = ["Diagnosis", "NormsAt", "Tried"]


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


@dataclass(frozen=True)
class Tried:
    """A schedule on whose images a prediction stands.

    Arguments:
        schedule: λ(i).
        mean, slope: of it.
        n: how many images.
        gain: share of the distance at λ = 1 in the network's own features by which it lowers that,
            by a model of all that were tried; None where its images were not finite.
        error: its standard deviation, None too.
    """

    schedule: LambdaSchedule
    mean: float
    slope: float
    n: int
    gain: float | None
    error: float | None


@dataclass(frozen=True)
class Diagnosis:
    """What a few images say of a model in a setting. A prediction: nothing in it is proven.

    Arguments:
        framework, weights: of the model; the SHA-256 of its weights.
        sampler: which.
        steps: T′, the real number of them.
        schedule: the λ(i) to begin with; λ = 1 where none on the way to the lowest comes nearer to
            clean images in the network's own features by more than three quarters of its error.
        mean, slope: of it.
        gain, error: of it, as those of `Tried`.
        lowest: the λ(i) of the lowest distance, by a model of all that were tried; `schedule` lies
            on the way there.
        at_edge: whether that lies as far out as was looked.
        ridge: how the mean moves with the tilt k(T′ − 1) where norms of ε stay as they are.
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
    lowest: LambdaSchedule
    at_edge: bool
    ridge: float
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
        if self.schedule.is_identity:
            return "λ = 1: nothing is likely enough to bring samples nearer to clean images"
        edge = "; the lowest lies at the edge of what was looked at" if self.at_edge else ""
        return (
            f"λ(i) = {self.schedule}: in the network's own features the distance to clean images "
            f"falls by {self.gain:.1%} ± {1.96 * self.error:.1%}{edge}"
        )
