"""The step grids of DDIM's code (arXiv:2010.02502), which latent diffusion's took over.

Of T timesteps and `steps` of them asked for:

    "uniform"   every s-th from 0 on, s = ⌊T/steps⌋: at times more than were asked for (12 of 1000
                are 13), and the same for all step counts with the same s
    "quad"      ⌊(j·√(0.8·T)/(steps − 1))²⌋ for j = 0 … steps − 1; many steps repeat the lowest
                timesteps, as the authors' own runs do
"""

from __future__ import annotations

import numpy as np

from lambda_search.errors import UsageError
from lambda_search.setting import Sampling

__all__ = ["grid_word", "one_spelling", "retained_timesteps"]

_WORDS = ("uniform", "quad")


def grid_word(sampling: Sampling) -> str:
    """The word of the grid that is meant.

    Raises:
        UsageError: for what is no word.
    """
    word = sampling.options.grid or "uniform"
    if word not in _WORDS:
        raise UsageError(f"This model has no grid '{word}'.", "Choose uniform or quad.")
    return word


def retained_timesteps(sampling: Sampling, total: int) -> list[int]:
    """The timesteps, of 0 … total − 1, that `sampling` walks, least noisy first.

    Raises:
        UsageError: for too few steps, or more than there are.
    """
    steps = sampling.steps
    if not 2 <= steps <= total:
        raise UsageError(
            f"A DDIM grid cannot have {steps} steps.",
            f"Take 2 to {total}: a grid of 1 step never sees noise.",
        )
    if grid_word(sampling) == "uniform":
        return list(range(0, total, total // steps))
    return [int(t) for t in np.linspace(0, np.sqrt(total * 0.8), steps) ** 2]


def one_spelling(sampling: Sampling, total: int) -> Sampling:
    """`sampling` with the largest step count that has its grid.

    That is the grid's own length, unless its stride leaves a remainder: asked for 13, the grid of
    13 that "12" names would be another one, of 14.
    """
    if sampling.options.grid != "uniform":
        return sampling
    return sampling.model_copy(update={"steps": total // (total // sampling.steps)})
