"""Counter-based noise: every draw depends on (study seed, sample index, draw number) alone.

    draw(seed, i, j) = Generator(Philox(key=[seed, i], counter=[0, 0, j + 1, 0])).standard_normal

Draw 0 is the start; draw j ≥ 1 belongs to the j-th step, noisy to clean. Nothing depends on the
batch, the worker or the number of workers, and all schedules of a study share the noise (common
random numbers), so that differences of their FIDs are far less noisy than the FIDs.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

__all__ = ["NOISE_SCHEME", "normal"]

NOISE_SCHEME = "philox-numpy-1"
"""Names this definition in fingerprints; a change of a single bit needs another name."""


def normal(seed: int, indices: Sequence[int], draw: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise of samples `indices`, float32 [len(indices), *shape], on the CPU.

    Arguments:
        seed: the study's seed, 0 ≤ seed < 2⁶⁴.
        indices: sample indices, each 0 ≤ i < 2⁶⁴.
        draw: 0 for the start, j ≥ 1 for the j-th step.
        shape: of one sample.
    """
    out = np.empty((len(indices), prod(shape)), dtype=np.float32)
    for row, index in zip(out, indices, strict=True):
        key = np.array([seed, index], dtype=np.uint64)
        bits = np.random.Philox(key=key, counter=[0, 0, draw + 1, 0])
        np.random.Generator(bits).standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(out).reshape(len(indices), *shape)
