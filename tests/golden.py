"""Checkpoints and results of the authors' own implementations, for the conformance tests.

One archive holds them, unpacked once a session: `FRAMEWORK/case/` with a checkpoint in the
framework's own format, `config.json` and `golden.npz`. Arrays are named after the sampler and the
λ setting (L0 … L3 of `lambda_bk`).
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from lambda_search.schedule import LambdaSchedule

ARCHIVE = Path(__file__).parent / "data" / "golden.tar.xz"
_UNPACKED = tempfile.TemporaryDirectory(prefix="golden-")

FORWARD = 5e-5
"""One network evaluation, as max|diff|/max|reference|: fused attention and other kernels."""
FINAL = 1e-4
"""A whole chain; typical mistakes miss by 2e-3 and more."""


@dataclass(frozen=True)
class Golden:
    """One case: its folder, its settings, and the authors' results."""

    folder: Path
    config: dict
    arrays: dict

    def tensor(self, name):
        return torch.from_numpy(self.arrays[name])

    @property
    def schedules(self):
        """L0 … L3: λ = 1, 1.017, 0.9985, and 1 + 0.0025·i."""
        return {f"L{j}": LambdaSchedule(*bk) for j, bk in enumerate(self.arrays["lambda_bk"])}

    @property
    def step_noise(self):
        return list(self.tensor("noise"))


@cache
def _unpacked():
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(_UNPACKED.name, filter="data")
    return Path(_UNPACKED.name)


def folder_of(case):
    """The folder of the case `FRAMEWORK/name`."""
    return _unpacked() / case


@cache
def golden(case):
    """The case `FRAMEWORK/name`."""
    folder = folder_of(case)
    with np.load(folder / "golden.npz") as arrays:
        return Golden(
            folder,
            json.loads((folder / "config.json").read_text()),
            {k: arrays[k] for k in arrays},
        )


def distance(found, reference):
    """max|found − reference| / max|reference|."""
    found, reference = (torch.as_tensor(x).double() for x in (found, reference))
    assert found.shape == reference.shape
    return float((found - reference).abs().max() / reference.abs().max())
