"""The discrete noise schedules of guided-diffusion and DiT, and the step grids taken from them.

A schedule has `total` timesteps; a sampler walks T′ of them, named by a respacing word:

    "20"       20 timesteps, evenly from the first to the last, rounded
    "4,3,5"    the same in each of three equal sections: 12 timesteps
    "ddim20"   20 timesteps at an integer stride, from the first on (arXiv:2010.02502)
    "ddim"     "ddim" with the number of steps that is asked for
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lambda_search.diffusion.betas import betas
from lambda_search.diffusion.grid import Grid
from lambda_search.errors import UsageError
from lambda_search.models.base import Model

if TYPE_CHECKING:
    from lambda_search.setting import Sampling

__all__ = [
    "DiscreteSchedule",
    "RespacedModel",
    "beta_table",
    "plainest_word",
    "respacing_word",
    "retained_timesteps",
]

_WORDS = 'Words: "20" (even), "4,3,5" (sections), "ddim20" (integer stride), "ddim".'


@dataclass(frozen=True)
class DiscreteSchedule:
    """ᾱ of every timestep that a network was trained with.

    Arguments:
        alpha_bar: ᾱ(0), ᾱ(1), …: falling, in (0, 1).
        time_scale: what the network is told is timestep × time_scale.
    """

    alpha_bar: tuple[float, ...]
    time_scale: float = 1.0

    @classmethod
    def of(cls, name: str, total: int, rescale_timesteps: bool = False) -> Self:
        """The schedule `name` with `total` timesteps.

        Arguments:
            name: as in `beta_table`.
            rescale_timesteps: whether the network is told timesteps out of 1000.
        """
        signal = (1 - beta_table(name, total)).cumprod()
        return cls(tuple(signal.tolist()), 1000 / total if rescale_timesteps else 1.0)

    def grid(self, word: str | None, steps: int) -> Grid:
        """The grid that `word` retains, for `steps` steps; errors as in `retained_timesteps`."""
        retained = retained_timesteps(word, steps, len(self.alpha_bar))
        return Grid.variance_preserving(
            [t * self.time_scale for t in retained], [self.alpha_bar[t] for t in retained]
        )


def beta_table(name: str, total: int) -> NDArray[np.float64]:
    """β of each of `total` timesteps, in double precision.

    Arguments:
        total: at least 2.
        name: `linear`, from 10⁻⁴ to 0.02 for 1000 timesteps and scaled for others; or `cosine`,
            alias `squaredcos_cap_v2`.

    Raises:
        UsageError: for another name, or a linear schedule too short to scale.
    """
    match name:
        case "linear":
            first, last = 0.1 / total, 20 / total
            if last >= 1:
                raise UsageError(
                    f"A linear schedule of {total} timesteps would reach β = {last:g}.",
                    "Take as many as the network was trained with, mostly 1000.",
                )
            return betas("linear", total, first, last)
        case "cosine" | "squaredcos_cap_v2":
            return betas("cosine", total)
    raise UsageError(f"There is no noise schedule '{name}'.", "Choose linear or cosine.")


class RespacedModel(Model):
    """A model whose sampler walks timesteps that a respacing word retains."""

    schedule: DiscreteSchedule

    def grid(self, sampling: Sampling) -> Grid:
        return self.schedule.grid(sampling.options.grid, sampling.steps)

    def spelled(self, sampling: Sampling, grid: Grid) -> Sampling:
        word = sampling.options.grid
        plain = plainest_word(word, sampling.steps, len(self.schedule.alpha_bar))
        options = sampling.options.model_copy(update={"grid": plain})
        return sampling.model_copy(update={"steps": len(grid), "options": options})


def respacing_word(word: str | None, steps: int) -> str:
    """`word` in its one spelling: None is str(steps), and "ddim" has its number added.

    Raises:
        UsageError: for what is no word, or a word for another number of steps.
    """
    spelled = str(steps) if word is None else re.sub(r"\s", "", word)
    spelled = f"ddim{steps}" if spelled == "ddim" else spelled
    if not re.fullmatch(r"(ddim)?[1-9]\d*|[1-9]\d*(,[1-9]\d*)+", spelled, re.ASCII):
        raise UsageError(f"'{word}' is no step grid of this framework.", _WORDS)
    if "," not in spelled and int(spelled.removeprefix("ddim")) != steps:
        raise UsageError(
            f"The grid '{word}' does not have {steps} steps.",
            f'Ask for {spelled.removeprefix("ddim")} steps, or set the option grid to "{steps}".',
        )
    return spelled


def retained_timesteps(word: str | None, steps: int, total: int) -> tuple[int, ...]:
    """The timesteps, of 0 … total − 1, that the grid `word` walks, least noisy first.

    Arguments:
        word: a respacing word; None is even spacing.
        steps: T′; sections may name another number.
        total: timesteps of the schedule.

    Raises:
        UsageError: for a word that is none, contradicts `steps`, or asks for more than there are.
    """
    spelled = respacing_word(word, steps)
    if spelled.startswith("ddim"):
        return _integer_stride(steps, total)
    counts = [int(count) for count in spelled.split(",")]
    size, longer = divmod(total, len(counts))
    retained: list[int] = []
    start = 0
    for i, count in enumerate(counts):
        length = size + (i < longer)
        if count > length:
            raise UsageError(
                f"{count} steps cannot be taken from {length} timesteps.",
                f"Take at most {length}.",
            )
        retained += [start + offset for offset in _even(count, length)]
        start += length
    return tuple(retained)


def plainest_word(word: str | None, steps: int, total: int) -> str:
    """Of the words that retain the timesteps of `word`, the plainest: even, else a stride."""
    retained = retained_timesteps(word, steps, total)
    n = len(retained)
    for plain in (str(n), f"ddim{n}"):
        with suppress(UsageError):  # no stride has n steps
            if retained_timesteps(plain, n, total) == retained:
                return plain
    return respacing_word(word, steps)


def _even(count: int, length: int) -> list[int]:
    """`count` of 0 … length − 1, both ends included; 1 is the first alone.

    The stride is added up and not multiplied, as the authors do: where a sum lies near a half,
    that decides which way it is rounded.
    """
    stride = (length - 1) / (count - 1) if count > 1 else 1.0
    offsets = accumulate([stride] * (count - 1), initial=0.0)
    return [round(offset) for offset in offsets]


def _integer_stride(steps: int, total: int) -> tuple[int, ...]:
    """Every s-th timestep from 0 on, with the smallest s that gives `steps` of them."""
    counts = {-(-total // stride): stride for stride in range(total - 1, 0, -1)}
    if steps not in counts:
        near = sorted(sorted(counts, key=lambda count: abs(count - steps))[:2])
        raise UsageError(
            f"No integer stride takes exactly {steps} of {total} timesteps.",
            f"Take {' or '.join(str(count) for count in near)} steps, or another grid.",
        )
    return tuple(range(0, total, counts[steps]))
