"""Where the schedulers of diffusers call their network, and how they read what it says.

A `Reading` finds in a scheduler's own tables the noise levels of its whole grid, whatever part of
it is walked, and the level of the call at hand. A level has a name there: a timestep, a σ or a
place. Points between two steps are called too, but are no levels of the grid. Here is one class
for each kind of tables; `unusual` has those of a single scheduler, and `classes` says which
scheduler has which.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import Literal
from typing import TypeAlias
from typing import cast

import torch

from lambda_search.diffusion.scaled.formula import Call
from lambda_search.diffusion.scaled.formula import preconditioned
from lambda_search.diffusion.scaled.formula import read
from lambda_search.diffusion.scaled.formula import read_exploding
from lambda_search.diffusion.schedulers import pure_noise
from lambda_search.errors import UsageError

__all__ = [
    "Clips",
    "Exploding",
    "Flow",
    "Halfway",
    "OnSigmas",
    "Preconditioned",
    "Preserving",
    "Reading",
    "Words",
    "place",
]

Clips: TypeAlias = Literal["step", "x0", "never"]
"""What clipping changes: the step, as in our own samplers; x0 alone, the direction keeping the ε
from before it; or nothing."""

Words: TypeAlias = tuple[str, str, str]
"""What a method calls the network's output, the level and the state."""

_PURE = 2.0**16  # from this σ/α on, α = 1 − σ has 8 bits or less in float32


class Reading:
    """How schedulers with ᾱ of every timestep read their network: α = √ᾱ, σ = √(1 − ᾱ).

    Arguments:
        clips: what clipping changes.
        methods: those that are told what the network says, with their words.
    """

    def __init__(self, clips: Clips = "step", **methods: Words) -> None:
        self.clips = clips
        self.methods: Mapping[str, Words] = methods or {
            "step": ("model_output", "timestep", "sample")
        }

    def walk(self, scheduler: Any) -> Iterable[float]:
        """The names of the levels where the whole grid calls the network, in any order."""
        return cast(list[float], scheduler.timesteps.tolist())

    def told(self, scheduler: Any, arguments: Mapping[str, Any], word: str) -> float:
        """The name of the level where the network was called.

        Arguments:
            scheduler: as it is before its method.
            arguments: the method's.
            word: of the level among them.

        Raises:
            UsageError: for samples at different levels.
        """
        named = arguments[word]
        if not isinstance(named, torch.Tensor):
            return float(named)
        first, *others = named.flatten().tolist()
        if any(other != first for other in others):
            raise UsageError(
                "The samples of this step are at different noise levels.",
                "Step those of one level at a time.",
            )
        return float(first)

    def call(self, scheduler: Any, name: float) -> Call:
        """What stands at a level."""
        alpha_bar = float(scheduler.alphas_cumprod[int(name)])
        kind = scheduler.config.get("prediction_type", "epsilon")
        return read(kind, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))

    def level(self, scheduler: Any, name: float) -> float:
        """σ/α where the network is called; infinite where that is pure noise."""
        level, noisiest = self.call(scheduler, name).level, pure_noise(scheduler)
        most = _PURE if noisiest is None else math.sqrt(1 / noisiest - 1)
        return math.inf if level >= most else level

    def levels(self, scheduler: Any) -> tuple[float, ...]:
        """The distinct levels of the whole grid, least noisy first."""
        return tuple(sorted({self.level(scheduler, name) for name in self.walk(scheduler)}))

    def is_flow(self, scheduler: Any) -> bool:
        """Whether x = (1 − σ)·x0 + σ·ε."""
        return False

    def check(self, scheduler: Any) -> None:
        """Raises UsageError for a configuration that cannot be scaled."""

    def doubts(self, scheduler: Any, arguments: Mapping[str, Any]) -> list[str]:
        """Where clipping makes λ mean something else than in our own samplers."""
        config, name = scheduler.config, type(scheduler).__name__
        if self.clips == "never":
            return []
        found = []
        if config.get("thresholding"):
            found.append(
                f"{name} bounds x0 by a quantile of itself (thresholding), which λ moves: our own "
                "samplers have no such bound."
            )
        elif (
            self.clips == "x0"
            and config.get("clip_sample")
            and not arguments.get("use_clipped_model_output")
        ):
            found.append(
                f"{name} clips x0 (clip_sample) after ε was divided by λ, and goes on with the ε "
                "from before: our own samplers take that of the clipped x0. Where it can be "
                "told, use_clipped_model_output=True does so."
            )
        return found


def place(scheduler: Any, timestep: Any) -> int:
    """A scheduler's place in its tables, found as its step finds it."""
    if scheduler.step_index is None and hasattr(scheduler, "_init_step_index"):
        scheduler._init_step_index(timestep)
    return scheduler.step_index or 0


class OnSigmas(Reading):
    """Those with a list of σ for their timesteps, behind which is where the last step ends."""

    def walk(self, scheduler: Any) -> Iterable[float]:
        return cast(list[float], scheduler.sigmas[:-1][: len(scheduler.timesteps)].tolist())

    def told(self, scheduler: Any, arguments: Mapping[str, Any], word: str) -> float:
        return float(scheduler.sigmas[place(scheduler, arguments[word])])


class Exploding(OnSigmas):
    """α = 1: Euler and its kin."""

    def call(self, scheduler: Any, name: float) -> Call:
        return read_exploding(scheduler.config.prediction_type, name)


class Halfway(Exploding):
    """Those that call the network between two steps, too.

    Arguments:
        between: (scheduler, its place) → σ of such a point.
    """

    def __init__(self, between: Callable[[Any, int], Any]) -> None:
        super().__init__()
        self._between = between

    def told(self, scheduler: Any, arguments: Mapping[str, Any], word: str) -> float:
        at = place(scheduler, arguments[word])
        whole = scheduler.state_in_first_order
        return float(scheduler.sigmas[at] if whole else self._between(scheduler, at))


class Preserving(OnSigmas):
    """α = 1/√(σ² + 1), its σ being α times that of the list; or a flow's, α = 1 − σ."""

    def call(self, scheduler: Any, name: float) -> Call:
        kind = scheduler.config.prediction_type
        if self.is_flow(scheduler):
            return read(kind, 1 - name, name)
        alpha = 1 / math.sqrt(name**2 + 1)
        found = read(kind, alpha, name * alpha)
        if kind == "flow_prediction":  # whose σ is always that of the list
            return Call(found.alpha, found.sigma, found.skip, -name)
        return found

    def is_flow(self, scheduler: Any) -> bool:
        return bool(scheduler.config.use_flow_sigmas)


class Preconditioned(OnSigmas):
    """α = 1, and the network inside of EDM's preconditioning."""

    def call(self, scheduler: Any, name: float) -> Call:
        sign = -1 if scheduler.config.prediction_type == "v_prediction" else 1
        return preconditioned(name, scheduler.config.sigma_data, sign)


class Flow(OnSigmas):
    """α = 1 − σ, and the network predicts ε − x0; or x0 − ε, where the list is one of 1 − σ."""

    def told(self, scheduler: Any, arguments: Mapping[str, Any], word: str) -> float:
        if arguments.get("per_token_timesteps") is not None:
            raise UsageError(
                "The tokens of this step are at different noise levels, and λ(i) is of one.",
                "Sample without conditions on single frames, or leave λ out.",
            )
        return super().told(scheduler, arguments, word)

    def call(self, scheduler: Any, name: float) -> Call:
        if scheduler.config.get("invert_sigmas"):
            return read("flow_to_image", name, 1 - name)
        return read("flow_prediction", 1 - name, name)

    def is_flow(self, scheduler: Any) -> bool:
        return True
