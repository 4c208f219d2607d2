"""Counter-based noise: every draw depends on (study seed, sample index, draw number) alone.

    draw(seed, i, j) = Generator(Philox(key=[seed, i], counter=[0, 0, j + 1, 0])).standard_normal

Draw 0 is the start; draw j ≥ 1 belongs to the j-th step, noisy to clean. Nothing depends on the
batch, the worker or the number of workers, and all schedules of a study share the noise (common
random numbers), so that differences of their FIDs are far less noisy than the FIDs. The name of
this definition is `setting.SEED_SCHEME`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

__all__ = ["balanced_labels", "beta", "normal"]


def normal(seed: int, indices: Sequence[int], draw: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise of samples `indices`, float32 [len(indices), *shape], on the CPU.

    Arguments:
        seed: the study's seed, 0 ≤ seed < 2⁶⁴.
        indices: sample indices, each 0 ≤ i < 2⁶⁴.
        draw: 0 for the start, j ≥ 1 for the j-th step.
        shape: of one sample.
    """
    out = np.empty((len(indices), prod(shape)), dtype=np.float32)
    key = np.array([seed, 0], dtype=np.uint64)
    bits = np.random.Philox(key=key, counter=[0, 0, draw + 1, 0])
    generator, fresh = np.random.Generator(bits), bits.state
    for row, index in zip(out, indices, strict=True):
        fresh["state"]["key"][1] = index
        bits.state = fresh  # half the time of a new generator for each sample
        generator.standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(out).reshape(len(indices), *shape)


def beta(seed: int, indices: Sequence[int], a: float, b: float) -> Tensor:
    """One draw of Beta(a, b) for each of samples `indices`, float64 [len(indices)]."""
    return torch.tensor(
        [_generator(seed, index, 1).beta(a, b) for index in indices], dtype=torch.float64
    )


def balanced_labels(indices: Sequence[int], classes: int) -> Tensor:
    """Labels of samples `indices`, int64 [len(indices)], from the index alone.

    Block ⌊i/K⌋ of K classes is a permutation of them, so that every prefix is balanced and the
    order is not the classes'.
    """
    blocks = {
        block: _generator(block, classes, 2).permutation(classes)
        for block in {index // classes for index in indices}
    }
    return torch.tensor(
        [int(blocks[index // classes][index % classes]) for index in indices], dtype=torch.int64
    )


def _generator(first: int, second: int, purpose: int) -> np.random.Generator:
    """A stream beside those of `normal`: its counter starts at `purpose` ≥ 1 in the last word."""
    key = np.array([first, second], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, purpose]))
